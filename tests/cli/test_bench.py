from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_the_figures_are_printed_and_kept(mi2, image_files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra evaluate")
    out, folder = tmp_path / "report", image_files[0].parent
    (tmp_path / "images").mkdir()
    for image in image_files:
        image.rename(tmp_path / "images" / image.name)
    words = ["--model", "mini", "--rounds", 1, "--batch-sizes", "1", "--baselines", "none", "--threads", 1]
    done = mi2("bench", *words, "--images", folder / "images", "--out", out, "--json")
    assert done.code == 0
    assert done.json == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert done.json["model"] == "mini"
    assert done.json["files"]["images"] == 3
    assert done.json["machine"]["threads"] == 1
    assert done.json["command"] == (
        f"mi2 bench --batch-sizes 1 --rounds 1 --threads 1 --baselines none --images {folder / 'images'} --model mini"
    )
    assert {one.name for one in out.iterdir()} == {"report.json", "report.md", "speed.png"}


def test_a_person_gets_tables(mi2) -> None:
    done = mi2("bench", "--model", "mini", "--rounds", 1, "--batch-sizes", "1", "--baselines", "none")
    assert done.code == 0
    assert "times floor" in done.out
    assert "12 padded to 77" in done.out
    assert "GFLOP/s" in done.out
    assert "The floor is the time" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--rounds", 0], "rounds_invalid"),
        (["--batch-sizes", "1,x"], "batch_sizes_invalid"),
        (["--batch-sizes", "0"], "batch_sizes_invalid"),
        (["--threads", 0], "threads_invalid"),
        (["--baselines", "eager,abacus"], "baselines_unknown"),
        (["--provider", "abacus", "--model", "mini"], "provider_unknown"),
    ],
)
def test_a_wrong_call_is_named(mi2, words: list[object], code: str) -> None:
    done = mi2("bench", *words, "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == code


def test_a_place_with_other_things_is_refused_before_anything_is_measured(mi2, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    done = mi2("bench", "--model", "mini", "--out", tmp_path)
    assert done.code == 2
    assert "choose another" in done.err
