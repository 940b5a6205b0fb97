"""A run that is killed, or whose disk is full, resumes from the last complete state, bit for bit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
safetensors = pytest.importorskip("safetensors")
safetensors_torch = pytest.importorskip("safetensors.torch")

import medimageinsight
from medimageinsight.errors import CheckpointError
from medimageinsight.train import train
from medimageinsight.train.checkpoint import load_state, save_model, save_state
from medimageinsight.train.config import OptimizerConfig
from medimageinsight.train.ema import WeightEMA
from medimageinsight.train.optim import build_optimizer
from tests.train.gloo_processes import MODEL, create_model
from tests.train.sample_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

# A child process that trains, and kills itself at a given moment.
CHILD = """
import os, pathlib, signal, sys
import safetensors.torch
from medimageinsight.train import run, trainer

config, out, mode, moment = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
gradients, save, rename, saved = trainer.compute_gradients, safetensors.torch.save_file, pathlib.Path.rename, 0

def compute(model, batch, step, *rest, **more):
    loss = gradients(model, batch, step, *rest, **more)
    if mode == "step" and step == moment:
        kill()
    if mode == "terminate" and step == moment:
        os.kill(os.getpid(), signal.SIGTERM)
    return loss

def half(tensors, path, *rest):
    global saved
    saved += pathlib.Path(path).name.startswith("state")
    save(tensors, path, *rest)
    if mode == "state" and saved == moment:
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        kill()

def move(self, target):
    rename(self, target)
    if mode == "folder" and str(target).endswith(".best.earlier"):
        kill()

trainer.compute_gradients, safetensors.torch.save_file, pathlib.Path.rename = compute, half, move
run.train(config, out, log=lambda line: None)
"""


def train_in_child(config: Path, out: Path, mode: str, moment: int) -> int:
    """Return the child's exit status, negative for a signal."""
    source = str(Path(medimageinsight.__file__).parent.parent)
    command = [sys.executable, "-c", CHILD, str(config), str(out), mode, str(moment)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": source}, check=False, timeout=300).returncode


def test_killed_run_resumes_exactly(tmp_path: Path) -> None:
    make_table(tmp_path)
    config, out = tmp_path / "run.yaml", tmp_path / "killed"
    config.write_text(yaml.safe_dump(CONFIG))
    step = random.randrange(8)
    statuses = [train_in_child(config, out, mode, moment) for mode, moment in (("step", step), ("state", 1))]
    assert statuses == [-signal.SIGKILL, -signal.SIGKILL], step
    # The run is killed between the two renames only if a better model follows; otherwise it completes.
    assert train_in_child(config, out, "folder", 0) in (-signal.SIGKILL, 0)
    train(config, out, log=quiet)
    train(config, tmp_path / "whole", log=quiet)
    for file in ("state.safetensors", "best/model.safetensors", "last/model.safetensors"):
        killed, whole = (safetensors_torch.load_file(folder / file) for folder in (out, tmp_path / "whole"))
        assert killed.keys() == whole.keys()
        assert all(torch.equal(killed[key], whole[key]) for key in whole), (file, step)
    assert (out / "curve.csv").read_text() == (tmp_path / "whole" / "curve.csv").read_text()


def test_terminated_run_saves_its_state_and_resumes_exactly(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG | {"checkpoint_every": 1000}))
    for step in (2, 5):  # the steps completed are those before, and the one during which the signal came
        assert train_in_child(config, tmp_path / "ended", "terminate", step) == 128 + signal.SIGTERM
        with safetensors.safe_open(tmp_path / "ended" / "state.safetensors", framework="pt") as file:
            assert json.loads(file.metadata()["progress"])["done"] == step + 1
        assert not (tmp_path / "ended" / "last").exists()
    lines: list[str] = []
    train(config, tmp_path / "ended", log=lines.append)
    assert "resuming after step 6" in lines
    train(config, tmp_path / "whole", log=quiet)
    for file in ("state.safetensors", "best/model.safetensors", "last/model.safetensors"):
        ended, whole = (safetensors_torch.load_file(tmp_path / name / file) for name in ("ended", "whole"))
        assert all(torch.equal(ended[key], whole[key]) for key in whole), file
    assert (tmp_path / "ended" / "curve.csv").read_text() == (tmp_path / "whole" / "curve.csv").read_text()


@contextlib.contextmanager
def limited_disk(folder: Path, kind: str) -> Iterator[None]:
    """Let files have no more than a few KiB."""
    if kind == "full disk":
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(params=["full disk", "file size limit"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A way for a write to fail; a full disk is a small file system."""
    if request.param == "full disk":
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
    yield request.param
    if request.param == "full disk":
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_full_disk_preserves_the_last_state_and_model(kind: str, tmp_path: Path) -> None:
    model = create_model()
    trained = {name for name, _ in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-3), MODEL, trained)
    average = WeightEMA(model, trained)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    state = model.state_dict()
    save_state(tmp_path, model, optimizer, average.values, {"done": 1})
    save_model(tmp_path / "best", state, {"name": "first"}, tokenizer)
    saved = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        model.logit_scale.add_(1)
    with limited_disk(tmp_path, kind):
        for save in (
            lambda: save_state(tmp_path, model, optimizer, average.values, {"done": 2}),
            lambda: save_model(tmp_path / "best", state, {"name": "second"}, tokenizer),
        ):
            with pytest.raises(CheckpointError, match="free some space") as caught:
                save()
            assert caught.value.code == "checkpoint_not_saved"
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]
    assert load_state(tmp_path, model, optimizer, average.values) == {"done": 1}
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert (tmp_path / "best" / "model.json").read_text().count("first") == 1
    save_state(tmp_path, model, optimizer, average.values, {"done": 3})
    assert load_state(tmp_path, model, optimizer, average.values) == {"done": 3}


def test_rejects_state_of_another_network(tmp_path: Path) -> None:
    model = create_model()
    names = {name for name, _ in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-3), MODEL, names)
    save_state(tmp_path, model, optimizer, WeightEMA(model, {"logit_scale"}).values, {"done": 1})
    with pytest.raises(CheckpointError) as caught:
        load_state(tmp_path, model, optimizer, WeightEMA(model, names).values)
    assert caught.value.code == "checkpoint_state_mismatch"
