"""From a fine-tuning to a classifier: `mi2 finetune`, `mi2 serve --response-shape labels` on its bundle, `Endpoint`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
pytest.importorskip("torch", reason="fine-tuning needs the train extra")
pytest.importorskip("onnxscript", reason="conversion needs the convert extra")
yaml = pytest.importorskip("yaml", reason="fine-tuning needs the train extra")

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from tests.serve.server_process import ROOT, b64, run_server
from tests.train.sample_run import CONFIG, make_table

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("Bright Spot", "No Finding")


def mi2(folder: Path, *words: str) -> str:
    """Run a command in a folder, and return what it prints."""
    command = [sys.executable, "-m", "medimageinsight", *words]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fine_tuned_model_is_served_as_a_classifier(tmp_path: Path) -> None:
    make_table(tmp_path)
    stages = [{"steps": 2, "image_size": 32, "batch_size": 4}]
    further = {key: CONFIG[key] for key in ("seed", "data", "optimizer", "evaluate_every", "checkpoint_every")}
    further |= {"name": "further", "stages": stages, "start": {"checkpoint": "runs/base/best", "learn": "last"}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": stages}))
    (tmp_path / "further.yaml").write_text(yaml.safe_dump(further))
    mi2(tmp_path, "train", "base.yaml", "--no-bundle")
    bundle = tmp_path / json.loads(mi2(tmp_path, "finetune", "further.yaml", "--json"))["bundle"]
    files = [tmp_path / f"{number}.png" for number in range(3)]

    with MedImageInsight.load(bundle, threads=1) as model:
        assert model.manifest.labels == LABELS
        expected = model.classify(files, LABELS, template="{}.")
    with (
        run_server(tmp_path, "--model", str(bundle), "--response-shape", "labels") as server,
        Endpoint(server.url) as endpoint,
    ):
        rows = server.score(*([b64(file.read_bytes()), ""] for file in files)).json
        scores = endpoint.label_scores([file.read_bytes() for file in files])
    for row, found, wanted in zip(rows, scores, expected, strict=True):
        assert [set(item) for item in row] == [{"label", "score"}] * len(LABELS)
        assert {item["label"]: item["score"] for item in row} == pytest.approx(found, abs=1e-5)
        np.testing.assert_allclose([found[label] for label in LABELS], list(wanted), atol=1e-5)
