"""A bundle is written completely or not at all, however the writing ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest

from medimageinsight.bundle import Bundle, new_bundle
from medimageinsight.errors import BundleError

WAIT_INSIDE = """
import sys, time
from medimageinsight.bundle import new_bundle
with new_bundle(sys.argv[1]) as folder:
    (folder / "image_encoder.onnx").write_bytes(b"half")
    print("inside", flush=True)
    time.sleep(60)
"""


def names(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fill(folder, toy_bundle) -> None:
    shutil.copytree(toy_bundle, folder, dirs_exist_ok=True)


def killed_inside(target, number) -> int:
    process = subprocess.Popen([sys.executable, "-c", WAIT_INSIDE, str(target)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"inside\n"
        process.send_signal(number)
    return process.returncode


def test_a_written_bundle_is_the_only_entry(tmp_path, toy_bundle):
    with new_bundle(tmp_path / "models" / "new") as folder:
        fill(folder, toy_bundle)
        assert not (tmp_path / "models" / "new").exists()
    Bundle.open(tmp_path / "models" / "new").verify()
    assert names(tmp_path / "models") == ["new"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_nothing(tmp_path, toy_bundle, error):
    def interrupted():
        with new_bundle(tmp_path / "new") as folder:
            fill(folder, toy_bundle)
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == []


def test_an_incomplete_bundle_is_not_moved_to_its_path(tmp_path):
    with pytest.raises(BundleError), new_bundle(tmp_path / "new") as folder:
        (folder / "image_encoder.onnx").write_bytes(b"half")
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_leaves_nothing(tmp_path):
    assert killed_inside(tmp_path / "new", signal.SIGTERM) == 128 + signal.SIGTERM
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_next_run_removes_the_folder_of_a_killed_one(tmp_path, toy_bundle):
    killed_inside(tmp_path / "new", signal.SIGKILL)
    (leftover,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert leftover.name.startswith(".new.partial-")
    with pytest.raises(BundleError):
        Bundle.open(leftover)
    with new_bundle(tmp_path / "new") as folder:
        fill(folder, toy_bundle)
    assert names(tmp_path) == ["new"]


def test_a_second_conversion_to_one_folder_is_refused(tmp_path, toy_bundle):
    with new_bundle(tmp_path / "new") as first:
        fill(first, toy_bundle)
        with pytest.raises(BundleError, match="running") as caught, new_bundle(tmp_path / "new"):
            pass
        with new_bundle(tmp_path / "other") as other:
            fill(other, toy_bundle)
    assert caught.value.code == "bundle_busy"
    Bundle.open(tmp_path / "new").verify()
    assert sorted(names(tmp_path)) == ["new", "other"]


def test_of_processes_that_start_together_one_writes(tmp_path, toy_bundle):
    program = WAIT_INSIDE.replace("time.sleep(60)", "sys.stdin.readline()").replace(
        '(folder / "image_encoder.onnx").write_bytes(b"half")',
        "import shutil; shutil.copytree(sys.argv[2], folder, dirs_exist_ok=True)",
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", program, str(tmp_path / "new"), str(toy_bundle)]
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    winners = [process for process in processes if process.stdout.readline() == b"inside\n"]
    outputs = {process: process.communicate(b"\n") for process in processes}
    assert len(winners) == 1
    assert winners[0].returncode == 0
    for process in processes:
        assert process in winners or b"expected no other conversion to this folder" in outputs[process][1]
    Bundle.open(tmp_path / "new").verify()
    assert names(tmp_path) == ["new"]


def test_a_bundle_that_appeared_meanwhile_is_not_replaced(tmp_path, toy_bundle):
    def overtaken():
        with new_bundle(tmp_path / "new") as folder:
            fill(folder, toy_bundle)
            fill(tmp_path / "new", toy_bundle)

    with pytest.raises(BundleError) as caught:
        overtaken()
    assert caught.value.code == "bundle_exists"
    assert names(tmp_path) == ["new"]


def test_a_bundle_is_replaced_only_when_allowed(tmp_path, toy_bundle):
    fill(tmp_path / "new", toy_bundle)
    (tmp_path / "new" / "old.txt").touch()
    with pytest.raises(BundleError, match="overwritten") as caught, new_bundle(tmp_path / "new"):
        pass
    assert caught.value.code == "bundle_exists"
    with new_bundle(tmp_path / "new", overwrite=True) as folder:
        fill(folder, toy_bundle)
    assert not (tmp_path / "new" / "old.txt").exists()
    assert names(tmp_path) == ["new"]


def test_a_failed_replacement_keeps_the_old_bundle(tmp_path, toy_bundle):
    fill(tmp_path / "new", toy_bundle)
    with pytest.raises(BundleError), new_bundle(tmp_path / "new", overwrite=True):
        pass
    Bundle.open(tmp_path / "new").verify()
    assert names(tmp_path) == ["new"]


def test_a_folder_that_is_not_a_bundle_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(BundleError, match="not a bundle"), new_bundle(tmp_path / "photos", overwrite=True):
        pass
    assert names(tmp_path / "photos") == ["cat.jpg"]


def test_an_empty_folder_is_used(tmp_path, toy_bundle):
    (tmp_path / "new").mkdir()
    with new_bundle(tmp_path / "new") as folder:
        fill(folder, toy_bundle)
    Bundle.open(tmp_path / "new")


def test_a_path_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BundleError) as caught, new_bundle(tmp_path / "file" / "new"):
        pass
    assert caught.value.code == "bundle_not_writable"
    assert str(tmp_path) not in caught.value.message
