"""``torchrun`` with two processes gives the result of one, and the example configs are valid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors_torch = pytest.importorskip("safetensors.torch")

import medimageinsight
from medimageinsight.train import train
from medimageinsight.train.config import FinetuneConfig, TrainConfig
from medimageinsight.train.config_file import read_config_as
from medimageinsight.train.history import read_history
from tests.train.sample_run import AZUREML, CONFIG, make_table, quiet

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = {
    "model": {**CONFIG["model"], "image": {**CONFIG["model"]["image"], "drop_path": 0.0}}
    | {"text": {**CONFIG["model"]["text"], "dropout": 0.0}},
    "images": {},
    "stages": [{"steps": 4, "image_size": 32, "batch_size": 4}],
}


def torchrun(config: Path, out: Path, *, code: int = 0) -> str:
    """Train with two processes and return their standard error."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module"]
    verb = ["medimageinsight", "train", str(config), "--out", str(out), "--no-bundle", "--json"]
    settings = {"PYTHONPATH": str(Path(medimageinsight.__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        launcher + verb, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG | PLAIN))
    assert torchrun(config, tmp_path / "two").count("to step 4") == 1, "only the main process logs"
    train(config, tmp_path / "one", log=quiet)
    single, double = (
        safetensors_torch.load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two")
    )
    assert all((single[name] - double[name]).abs().max() < 1e-3 for name in single)
    assert (tmp_path / "one" / "curve.csv").read_text().count("\n") == (
        tmp_path / "two" / "curve.csv"
    ).read_text().count("\n")


def test_all_processes_end_when_one_fails(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = tmp_path / "run.yaml"
    wrong = {"stages": [{"steps": 1, "image_size": 64, "batch_size": 4}]}
    config.write_text(yaml.safe_dump(CONFIG | PLAIN | wrong))
    messages = torchrun(config, tmp_path / "run", code=1)
    assert "the model's own image_size, 32" in messages
    assert "should not happen" not in messages


def test_shards_are_restored_after_a_validation(tmp_path: Path) -> None:
    """A whole run with FSDP: parameters gathered for a validation are sharded again before the next step and state."""
    make_table(tmp_path)
    config = tmp_path / "run.yaml"
    frequent = {"evaluate_every": 1, "checkpoint_every": 2, "optimizer": {"learning_rate": 0.01, "ema_decay": 0.5}}
    shards = {"parallel": {"strategy": "shard", "checkpointing": True}}
    config.write_text(yaml.safe_dump(CONFIG | PLAIN | frequent | shards))
    torchrun(config, tmp_path / "two")
    assert "resuming after step 4" in torchrun(config, tmp_path / "two")
    config.write_text(yaml.safe_dump(CONFIG | PLAIN | frequent))
    train(config, tmp_path / "one", log=quiet)
    folders = [tmp_path / name for name in ("one", "two")]
    for file in ("best/model.safetensors", "last/model.safetensors", "state.safetensors"):
        single, sharded = (safetensors_torch.load_file(folder / file) for folder in folders)
        assert single.keys() == sharded.keys()
        differences = {name: float((single[name].float() - sharded[name].float()).abs().max()) for name in single}
        assert max(differences.values()) < 1e-2, differences
    curves = [read_history(folder / "curve.csv", until=9) for folder in folders]
    assert curves[0][-1].keys() == curves[1][-1].keys()
    assert len(curves[1]) == 4


def test_trains_in_bf16_and_fp16(tmp_path: Path) -> None:
    make_table(tmp_path)
    short = {"stages": [{"steps": 2, "image_size": 32, "batch_size": 4}]}
    for precision in ("bf16", "fp16"):
        config = tmp_path / f"{precision}.yaml"
        config.write_text(yaml.safe_dump(CONFIG | PLAIN | short | {"precision": precision}))
        best = train(config, tmp_path / precision, log=quiet)
        weights = safetensors_torch.load_file(best / "model.safetensors")
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_example_configs_are_valid(name: str, tmp_path: Path) -> None:
    for path in CONFIGS.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "train.yaml").write_text(AZUREML)  # a base of finetune-original.yaml
    (tmp_path / "train_text.tsv").write_text("\n" * 480)
    kind = FinetuneConfig if name.startswith(("finetune", "mini2-teacher")) else TrainConfig
    assert read_config_as(tmp_path / name, kind).steps > 0
