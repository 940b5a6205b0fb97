"""Batches on one machine: one row for each input, resumed, refused when something has changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medimageinsight import MedImageInsight, batch
from medimageinsight.batch import BatchOptions, LocalEngine
from medimageinsight.errors import InputError, MedImageInsightError
from tests.batch.outputs import COLUMNS, part_bytes, read_rows

if TYPE_CHECKING:
    from pathlib import Path

PARTS_OF_4 = BatchOptions(part_rows=4)


@pytest.fixture
def complete(images: Path, toy_bundle: Path, tmp_path: Path) -> Path:
    """Return an undisturbed output."""
    out = tmp_path / "complete"
    batch.run(images, out, model=toy_bundle, options=PARTS_OF_4)
    return out


@pytest.fixture
def planned(images: Path, toy_bundle: Path, tmp_path: Path) -> Path:
    """Return an output that has a plan and no parts, as after a start that was killed."""
    out = tmp_path / "planned"
    batch.plan([str(images)], str(out), PARTS_OF_4, MedImageInsight.load(toy_bundle).identity)
    return out


def test_every_input_has_one_row_equal_to_embed_images(images: Path, complete: Path, toy_bundle: Path) -> None:
    rows = read_rows(complete)
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 21
    assert sorted(row["key"] for row in rows) == sorted(str(path) for path in images.rglob("*.png"))
    (failed,) = [row for row in rows if row["error_code"]]
    assert failed["key"].endswith("05-broken.png")
    assert failed["embedding"] is None
    assert "05-broken" not in failed["error_message"]
    good = [row for row in rows if row["error_code"] is None]
    expected = MedImageInsight.load(toy_bundle).embed_images([row["key"] for row in good])
    np.testing.assert_array_equal(np.array([row["embedding"] for row in good], np.float32), expected)
    assert {(row["model"], row["preprocessing"]) for row in rows} == {("toy", "direct")}


def test_a_second_start_does_only_what_is_missing(images: Path, complete: Path, toy_bundle: Path) -> None:
    before = part_bytes(complete)
    (complete / "part-000002.parquet").unlink()
    report = batch.run(images, complete, model=toy_bundle, options=PARTS_OF_4)
    assert (report.rows, report.done, report.earlier) == (21, 4, 17)
    assert part_bytes(complete) == before


def test_a_killed_start_is_resumed_to_equal_bits(
    images: Path, complete: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    call = [sys.executable, "-m", "medimageinsight", "batch", str(images), str(out), "--part-rows", "4"]
    process = subprocess.Popen([*call, "--model", str(toy_bundle)], start_new_session=True)
    while not list(out.glob("*.parquet")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for whole in part_bytes(out).items():
        assert whole in part_bytes(complete).items()
    batch.run(images, out, model=toy_bundle, options=PARTS_OF_4)
    assert part_bytes(out) == part_bytes(complete)


def test_two_starts_at_once_do_no_harm(images: Path, complete: Path, toy_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    call = [sys.executable, "-m", "medimageinsight", "batch", str(images), str(out), "--part-rows", "4", "--json"]
    processes = [
        subprocess.Popen([*call, "--model", str(toy_bundle)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode in (0, 1) for process in processes] == [True, True], outputs
    assert part_bytes(out) == part_bytes(complete)
    assert len(list((out / "_batch").glob("plan-*"))) == 1
    assert not [path for path in out.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("change", ["new", "removed", "content", "time"])
def test_changed_inputs_are_refused(change: str, images: Path, planned: Path, toy_bundle: Path) -> None:
    path = images / "02.png"
    match change:
        case "new":
            (images / "99.png").write_bytes(path.read_bytes())
        case "removed":
            path.unlink()
        case "content":
            path.write_bytes(path.read_bytes() + b"\0")
        case "time":
            os.utime(path, ns=(1, 1))
    with pytest.raises(InputError) as error:
        batch.run(images, planned, model=toy_bundle, options=PARTS_OF_4)
    assert error.value.code == "batch_inputs_changed"


def test_another_model_or_other_options_are_refused(images: Path, planned: Path, toy_bundle: Path) -> None:
    with pytest.raises(InputError) as error:
        batch.run(images, planned, options=PARTS_OF_4)
    assert error.value.code == "batch_model_changed"
    with pytest.raises(InputError) as error:
        batch.run(images, planned, model=toy_bundle, preprocessing="azure", options=PARTS_OF_4)
    assert error.value.code == "batch_model_changed"
    with pytest.raises(InputError) as error:
        batch.run(images, planned, model=toy_bundle, options=BatchOptions(part_rows=4, frame=1))
    assert error.value.code == "batch_options_changed"


HOSTILE = {
    "not_json": b"{",
    "deep": b"[" * 100_000,
    "huge_number": b'{"format": 1, "kind": "batch", "rows": 1e400}',
    "outside": None,
    "counts": None,
    "pickle": b"\x80\x04N.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_manifest_is_refused(kind: str, images: Path, planned: Path, toy_bundle: Path) -> None:
    manifest = planned / "_batch" / "manifest.json"
    content = HOSTILE[kind]
    if content is None:
        document = json.loads(manifest.read_text())
        if kind == "outside":
            document["shards"][0]["name"] = "../../secret.arrow"
        else:
            document["parts"] = 10**12
        content = json.dumps(document).encode()
    manifest.write_bytes(content)
    with pytest.raises(InputError) as error:
        batch.run(images, planned, model=toy_bundle, options=PARTS_OF_4)
    assert error.value.code == "batch_manifest_invalid"


def test_a_damaged_plan_is_refused(images: Path, planned: Path, toy_bundle: Path) -> None:
    (plan,) = (planned / "_batch").glob("plan-*")
    plan.write_bytes(plan.read_bytes()[:-40])
    with pytest.raises(Exception, match="plan") as error:
        batch.run(images, planned, model=toy_bundle, options=PARTS_OF_4)
    assert getattr(error.value, "code", None) == "batch_plan_invalid"


def test_parts_without_a_manifest_are_refused(images: Path, toy_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "foreign"
    out.mkdir()
    (out / "part-000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError) as error:
        batch.run(images, out, model=toy_bundle)
    assert error.value.code == "batch_out_invalid"


@pytest.mark.skipif(sys.platform == "win32", reason="a process is killed with a signal")
def test_a_part_that_kills_its_worker_is_set_aside(
    images: Path, complete: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that opens this file ends, as it would for a crash in a decoder.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def end(event, arguments):\n"
        "    works = 'batch.worker' in ' '.join(sys.orig_argv)\n"
        "    if event == 'open' and works and str(arguments[0]).endswith('06.png'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(end)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))
    out = tmp_path / "aside"
    report = batch.run(images, out, model=toy_bundle, options=PARTS_OF_4)
    (name,) = report.set_aside
    missing = part_bytes(complete)
    missing.pop(name)
    assert part_bytes(out) == missing
    assert [path.name for path in (out / "_batch" / "set-aside").iterdir()] == [f"{name}.json"]
    monkeypatch.delenv("PYTHONPATH")
    report = batch.run(images, out, model=toy_bundle, options=PARTS_OF_4, engine=LocalEngine(workers=2))
    assert not report.set_aside
    assert part_bytes(out) == part_bytes(complete)
    assert not list((out / "_batch" / "set-aside").iterdir())


def test_a_worker_that_cannot_start_ends_the_call(
    images: Path, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'batch.worker' in ' '.join(sys.orig_argv): os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MedImageInsightError) as error:
        batch.run(images, tmp_path / "out", model=toy_bundle, options=PARTS_OF_4)
    assert error.value.code == "batch_worker_failed"
