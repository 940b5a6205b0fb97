"""``torchrun`` over two processes: the run that one process makes, and the example configs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

import medimageinsight
from medimageinsight.train.config import FinetuneConfig, TrainConfig, read_run
from medimageinsight.train.loop import train
from tests.train.made_run import CONFIG, make_table, quiet

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = {
    "model": {**CONFIG["model"], "image": {**CONFIG["model"]["image"], "drop_path": 0.0}}
    | {"text": {**CONFIG["model"]["text"], "dropout": 0.0}},
    "images": {},
    "stages": [{"steps": 4, "image_size": 32, "batch_size": 4}],
}


def test_two_processes_make_the_run_of_one(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG | PLAIN))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module"]
    verb = ["medimageinsight", "train", str(config), "--out", str(tmp_path / "two"), "--no-bundle", "--json"]
    settings = {"PYTHONPATH": str(Path(medimageinsight.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        torchrun + verb, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("to step 4") == 1, "only the main process talks"
    train(config, tmp_path / "one", log=quiet)
    one, two = (safetensors_torch.load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    assert all((one[name] - two[name]).abs().max() < 1e-3 for name in one)
    assert (tmp_path / "one" / "curve.csv").read_text().count("\n") == (
        tmp_path / "two" / "curve.csv"
    ).read_text().count("\n")


def test_bf16_and_fp16_learn_too(tmp_path: Path) -> None:
    make_table(tmp_path)
    short = {"stages": [{"steps": 2, "image_size": 32, "batch_size": 4}]}
    for precision in ("bf16", "fp16"):
        config = tmp_path / f"{precision}.yaml"
        config.write_text(yaml.safe_dump(CONFIG | PLAIN | short | {"precision": precision}))
        best = train(config, tmp_path / precision, log=quiet)
        weights = safetensors_torch.load_file(best / "model.safetensors")
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_example_configs_are_read(path: Path) -> None:
    kind = FinetuneConfig if path.stem.startswith("finetune") else TrainConfig
    assert read_run(path, kind).steps > 0
