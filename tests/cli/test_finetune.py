"""``finetune``: a bundle of the fine-tuned model, with its provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_provenance_names_the_checkpoint_as_parent(mi2, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("torch")
    yaml = pytest.importorskip("yaml")
    from tests.train.sample_run import CONFIG, make_table

    make_table(tmp_path)
    stages = [{"steps": 2, "image_size": 32, "batch_size": 4}]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(CONFIG | {"stages": stages}))
    further = {key: CONFIG[key] for key in ("seed", "data", "optimizer", "evaluate_every", "checkpoint_every")}
    further |= {"name": "further", "stages": stages, "start": {"checkpoint": "runs/base/best", "learn": "lora"}}
    (tmp_path / "further.yaml").write_text(yaml.safe_dump(further))
    monkeypatch.chdir(tmp_path)
    assert mi2("train", "base.yaml", "--no-bundle").code == 0
    result = mi2("finetune", "further.yaml", "--seed", "7", "--json")
    assert result.code == 0
    assert result.json == {"checkpoint": "runs/further-seed7/best", "bundle": "runs/further-seed7/bundle"}
    manifest = json.loads((tmp_path / "runs/further-seed7/bundle/manifest.json").read_text())
    assert manifest["provenance"]["seed"] == 7
    assert manifest["provenance"]["parents"][0]["name"] == "speck"


def test_rejects_config_for_training_from_scratch(mi2, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("yaml")
    (tmp_path / "x.yaml").write_text("name: x\nseed: 1\nmodel: {}\n")
    result = mi2("finetune", tmp_path / "x.yaml")
    assert result.code == 1
    assert "config: missing data" in result.err
    assert "config.model: unknown" in result.err
