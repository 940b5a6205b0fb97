"""A run that is killed, or whose disk is full, goes on from the last whole state to the same bits."""

from __future__ import annotations

import contextlib
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
safetensors_torch = pytest.importorskip("safetensors.torch")

import medimageinsight
from medimageinsight.errors import CheckpointError
from medimageinsight.files.atomic import replace_folder, restore_folder
from medimageinsight.train.average import Average
from medimageinsight.train.checkpoint import load_state, save_model, save_state
from medimageinsight.train.config import OptimizerConfig
from medimageinsight.train.loop import train
from medimageinsight.train.optim import build_optimizer
from tests.train.gloo import MODEL, model
from tests.train.made_run import CONFIG, make_table, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a child does: it trains, and kills itself at a moment that it is given.
CHILD = """
import os, pathlib, signal, sys
import safetensors.torch
from medimageinsight.train import loop

config, out, mode, moment = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
gradients, save, rename, saved = loop.compute_gradients, safetensors.torch.save_file, pathlib.Path.rename, 0

def compute(model, batch, step, *rest, **more):
    loss = gradients(model, batch, step, *rest, **more)
    if mode == "step" and step == moment:
        kill()
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

loop.compute_gradients, safetensors.torch.save_file, pathlib.Path.rename = compute, half, move
loop.train(config, out, log=lambda line: None)
"""


def train_in_child(config: Path, out: Path, mode: str, moment: int) -> int:
    """The child's exit status, negative for a signal."""
    source = str(Path(medimageinsight.__file__).parent.parent)
    command = [sys.executable, "-c", CHILD, str(config), str(out), mode, str(moment)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": source}, check=False, timeout=300).returncode


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    make_table(tmp_path)
    config, out = tmp_path / "run.yaml", tmp_path / "killed"
    config.write_text(yaml.safe_dump(CONFIG))
    step = random.randrange(8)
    statuses = [train_in_child(config, out, mode, moment) for mode, moment in (("step", step), ("state", 1))]
    assert statuses == [-signal.SIGKILL, -signal.SIGKILL], step
    # Only where a better model follows is one killed between the two moves; the other ends well.
    assert train_in_child(config, out, "folder", 0) in (-signal.SIGKILL, 0)
    train(config, out, log=quiet)
    train(config, tmp_path / "whole", log=quiet)
    for file in ("state.safetensors", "best/model.safetensors", "last/model.safetensors"):
        killed, whole = (safetensors_torch.load_file(folder / file) for folder in (out, tmp_path / "whole"))
        assert killed.keys() == whole.keys()
        assert all(torch.equal(killed[key], whole[key]) for key in whole), (file, step)
    assert (out / "curve.csv").read_text() == (tmp_path / "whole" / "curve.csv").read_text()


@contextlib.contextmanager
def little_room(folder: Path, kind: str) -> Iterator[None]:
    """No room for a file of more than some KiB."""
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
    """A way for a write to fail; a full disk is a small file system of its own."""
    if request.param == "full disk":
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
        if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
    yield request.param
    if request.param == "full disk":
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_keeps_the_last_state_and_model(kind: str, tmp_path: Path) -> None:
    one = model()
    trained = {name for name, _ in one.named_parameters()}
    optimizer = build_optimizer(one, OptimizerConfig(learning_rate=1e-3), MODEL, trained)
    average = Average(one, trained)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    state = one.state_dict()
    save_state(tmp_path, one, optimizer, average.values, {"done": 1})
    save_model(tmp_path / "best", state, {"name": "first"}, tokenizer)
    kept = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        one.logit_scale.add_(1)
    with little_room(tmp_path, kind):
        for save in (
            lambda: save_state(tmp_path, one, optimizer, average.values, {"done": 2}),
            lambda: save_model(tmp_path / "best", state, {"name": "second"}, tokenizer),
        ):
            with pytest.raises(CheckpointError, match="free some space") as caught:
                save()
            assert caught.value.code == "checkpoint_not_saved"
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]
    assert load_state(tmp_path, one, optimizer, average.values) == {"done": 1}
    assert all(torch.equal(value, kept[name]) for name, value in one.state_dict().items())
    assert (tmp_path / "best" / "model.json").read_text().count("first") == 1
    save_state(tmp_path, one, optimizer, average.values, {"done": 3})
    assert load_state(tmp_path, one, optimizer, average.values) == {"done": 3}


def test_a_folder_lost_between_two_moves_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "best"
    with replace_folder(target) as fresh:
        (fresh / "a").write_text("1")
    target.rename(tmp_path / ".best.earlier")
    restore_folder(target)
    assert (target / "a").read_text() == "1"
    with replace_folder(target) as fresh:
        (fresh / "a").write_text("2")
    assert (target / "a").read_text() == "2"
    assert [file.name for file in tmp_path.iterdir()] == ["best"]


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    one = model()
    names = {name for name, _ in one.named_parameters()}
    optimizer = build_optimizer(one, OptimizerConfig(learning_rate=1e-3), MODEL, names)
    save_state(tmp_path, one, optimizer, Average(one, {"logit_scale"}).values, {"done": 1})
    with pytest.raises(CheckpointError) as caught:
        load_state(tmp_path, one, optimizer, Average(one, names).values)
    assert caught.value.code == "checkpoint_state_mismatch"
