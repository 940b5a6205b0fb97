"""``mi2 evaluate`` of tables with several labels an image, without captions, without splits, and its worst errors."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib")
sklearn = pytest.importorskip("sklearn.metrics")
LABELS = ("Bright", "Wide")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as CheXpert's: a column for each label, uncertain and empty cells; no captions and no label."""
    rng = np.random.default_rng(0)
    path = tmp_path / "chexpert.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Path", "Sex", "Age", "Patient ID", "Split", *LABELS, "Findings"])
        for index in range(120):
            bright, wide = rng.random(2) < 0.4
            pixels = rng.integers(0, 60, (24, 24, 3), dtype=np.uint8)
            pixels[6:16, 4 : 22 if wide else 12] += np.uint8(150 if bright else 40)
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
            cells = ["1.0" if flag else ("0.0" if index % 2 else "") for flag in (bright, wide)]
            if index % 10 == 0:
                cells[0] = "-1.0"
            names = "|".join(name for name, flag in zip(LABELS, (bright, wide), strict=True) if flag)
            split = ("train", "val", "test")[index // 40]
            writer.writerow(
                [f"{index}.png", "FM"[index % 2], 20 + index // 2, f"doe{index}", split, *cells, names or "No Finding"]
            )
    return path


def test_columns_are_scored_label_by_label(mi2, table: Path, tmp_path: Path) -> None:
    done = mi2("evaluate", table, "--label-columns", "Bright", "wide", "--template", "a {} box", "--json")
    assert done.code == 0, done.err
    assert done.json["labels"]["Bright"]["ignored"] == 4
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["Split"] == "test"]
    positives = sum(row["Bright"] == "1.0" for row in rows)
    assert done.json["labels"]["Bright"] == {"positives": positives, "negatives": 36 - positives, "ignored": 4}
    assert set(done.json["methods"]) == {"zero-shot"}
    assert done.json["prompt_source"] == "the template 'a {} box'"
    shown = mi2("evaluate", table, "--label-columns", "Bright,Wide")
    assert shown.code == 0, shown.err
    assert "ignored" in shown.out
    assert "patient ids" in shown.out
    assert "uncertain labels are ignored" in shown.err
    found = mi2("evaluate", table, "--label-columns", "auto", "--json")
    assert list(found.json["labels"]) == list(LABELS)


def test_full_report_has_methods_groups_and_worst_errors(mi2, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = mi2("evaluate", table, "--label-columns", "auto", "--out", out, "--group", "SEX", "--worst", "2", "--json")
    assert done.code == 0, done.err
    assert json.loads((out / "report.json").read_text()) == done.json
    assert set(done.json["methods"]) == {"zero-shot", "kNN", "linear probe"}
    assert {gap["column"] for gap in done.json["rate_gaps"]} == {"SEX"}
    assert "--label-columns auto" in done.json["command"]
    errors = tmp_path / "report_worst"
    assert "images of patients written to" in done.err
    with (errors / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {path.name for path in errors.iterdir()} == {"errors.csv", *(row["image"] for row in rows)}
    for row in rows:
        assert 80 <= int(row["row_index"]) < 120
    assert not any(path.name == "errors.csv" for path in out.iterdir())
    assert "doe" not in (out / "report.html").read_text()
    shown = mi2("evaluate", table, "--label-columns", "auto", "--out", out)
    assert shown.code == 0, shown.err
    assert "linear probe" in shown.out


def test_cells_with_a_separator(mi2, table: Path) -> None:
    done = mi2("evaluate", table, "--label-separator", "|", "--json")
    assert done.code == 0, done.err
    assert list(done.json["labels"]) == list(LABELS)
    named = mi2("evaluate", table, "--label-separator", "|", "--label-columns", "findings", "--json")
    assert named.json["labels"] == done.json["labels"]
    several = mi2("evaluate", table, "--label-separator", "|", "--label-columns", "Bright", "Wide")
    assert several.code == 2
    assert "expected one column with --label-separator" in several.err


def test_options_that_do_not_fit_are_refused(mi2, table: Path, toy_bundle: Path, tmp_path: Path) -> None:
    for words, message in (
        (("--uncertain", "x"), "with --label-columns or --label-separator"),
        (("--label-columns", "Mass"), "expected columns of labels, got Mass"),
        (("--label-columns", "Sex"), "is not 1, 0, empty or uncertain"),
        (("--label-columns", "auto", "--against", toy_bundle), "no --against and no --update-card"),
        (("--label-columns", "auto", "--worst", "3"), "add --worst-out"),
        (("--worst-out", tmp_path / "w"), "expected --worst with --worst-out"),
        (("--label-columns", "auto", "--worst", "3", "--worst-out", tmp_path), "one with other files"),
        (("--label-columns", "auto", "--split", "dev"), "expected one of the table's splits"),
    ):
        done = mi2("evaluate", table, *words)
        assert done.code != 0, words
        assert message in done.err


def test_uncertain_cells_can_be_named(mi2, table: Path) -> None:
    table.write_text(table.read_text().replace(",-1.0,", ",maybe,"))
    assert "not 1, 0, empty or uncertain" in mi2("evaluate", table, "--label-columns", *LABELS).err
    done = mi2("evaluate", table, "--label-columns", *LABELS, "--uncertain", "Maybe", "--json")
    assert done.json["labels"]["Bright"]["ignored"] == 4


@pytest.fixture
def plain(table: Path) -> Path:
    """The same images with one label each, without captions and splits."""
    with table.open() as file:
        rows = list(csv.DictReader(file))
    path = table.with_name("plain.csv")
    text = "".join(
        f"{row['Path']},{'bright' if row['Bright'] == '1.0' else 'dark'},{row['Patient ID']}\n" for row in rows
    )
    path.write_text("image,label,patient_id\n" + text)
    return path


def test_captions_and_splits_are_needed_only_where_they_are_used(mi2, plain: Path, tmp_path: Path) -> None:
    done = mi2("evaluate", plain)
    assert done.code != 0
    assert "there is no column 'caption'" in done.err
    assert "or give prompts with --template or --prompts" in done.err
    done = mi2("evaluate", plain, "--template", "a {} box", "--json")
    assert done.code == 0, done.err
    assert done.json["images"] == 120
    assert "the table has no splits" in done.err
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"bright": "a bright box", "dark": "a dark box"}))
    split = plain.with_name("split.csv")
    rows = plain.read_text().splitlines()
    splits = ("split", *(("train", "val", "test")[index // 40] for index in range(120)))
    split.write_text("\n".join(f"{row},{name}" for row, name in zip(rows, splits, strict=True)))
    out, errors = tmp_path / "report", tmp_path / "errors"
    done = mi2("evaluate", split, "--prompts", prompts, "--out", out, "--worst", "3", "--worst-out", errors, "--json")
    assert done.code == 0, done.err
    assert set(done.json["methods"]) == {"zero-shot", "kNN", "linear probe"}
    for row in csv.DictReader((errors / "errors.csv").read_text().splitlines()):
        assert {row["truth"], row["answer"]} == {"bright", "dark"}
        assert float(row["score"]) > float(row["score_of_truth"])
    assert (out / "confusion.csv").is_file()
