from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_prints_json_and_writes_the_report(mi2, image_files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra evaluate")
    out, folder = tmp_path / "report", image_files[0].parent
    (tmp_path / "images").mkdir()
    for image in image_files:
        image.rename(tmp_path / "images" / image.name)
    words = ["--model", "mini", "--rounds", 1, "--batch-sizes", "1", "--baselines", "none", "--threads", 1]
    result = mi2("bench", *words, "--images", folder / "images", "--out", out, "--json")
    assert result.code == 0
    assert result.json == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert result.json["model"] == "mini"
    assert result.json["files"]["images"] == 3
    assert result.json["machine"]["threads"] == 1
    assert result.json["command"] == (
        f"mi2 bench --batch-sizes 1 --rounds 1 --threads 1 --baselines none --images {folder / 'images'} --model mini"
    )
    assert {entry.name for entry in out.iterdir()} == {"report.json", "report.md", "speed.png"}


def test_prints_tables(mi2) -> None:
    result = mi2("bench", "--model", "mini", "--rounds", 1, "--batch-sizes", "1", "--baselines", "none")
    assert result.code == 0
    assert "times floor" in result.out
    assert "12 padded to 77" in result.out
    assert "GFLOP/s" in result.out
    assert "The floor is the time" in result.err


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
def test_rejects_invalid_options(mi2, words: list[object], code: str) -> None:
    result = mi2("bench", *words, "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == code


def test_rejects_folder_with_other_files_before_measuring(mi2, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    result = mi2("bench", "--model", "mini", "--out", tmp_path)
    assert result.code == 2
    assert "choose another" in result.err
