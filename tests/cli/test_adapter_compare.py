from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.labelled_images import KINDS, write_table

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("sklearn", reason="the comparison needs the extra evaluate")

FAST = ("--method", "knn", "--method", "logistic_regression")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "set", count=120)


def test_compares_methods_as_json_and_in_files(mi2, table: Path, tmp_path: Path) -> None:
    words = ("adapter", "compare", table, "--label-column", "kind", *FAST, "--json")
    compared = mi2(*words, "--out", tmp_path / "c.json")
    assert compared.code == 0
    assert list(compared.json["methods"]) == ["knn", "logistic_regression"]
    assert compared.json["images"] == {"train": 60, "validation": 30, "test": 30}
    assert compared.json["unknown_patients"] == {"train": 0, "validation": 0, "test": 0}
    assert (compared.json["labels"], compared.json["model"]) == (sorted(KINDS), "toy")
    for figures in compared.json["methods"].values():
        assert figures["mean_auc"]["value"] > 0.95
        assert set(figures["label_auc"]) == set(KINDS)
        assert figures["chosen"] in figures["candidates"]
    assert json.loads((tmp_path / "c.json").read_text()) == compared.json
    again = mi2(*words, "--out", tmp_path / "c.csv")
    assert again.out == compared.out
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (mean,) = [row for row in rows if (row["method"], row["figure"]) == ("knn", "mean_auc")]
    assert float(mean["value"]) == compared.json["methods"]["knn"]["mean_auc"]["value"]
    assert sum(row["figure"] == "auc" for row in rows) == 6


def test_prints_a_table(mi2, table: Path) -> None:
    printed = mi2("adapter", "compare", table, "--label-column", "kind", *FAST)
    assert printed.code == 0
    for part in ("on 30 test images, 15 patients", "mean AUC", "balanced accuracy", "logistic regression", "C 0.0"):
        assert part in printed.out
    assert "fitted to 60 images, settings chosen on 30 others" in printed.err


def test_table_without_splits_is_split_by_patient(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, splits=())
    compared = mi2("adapter", "compare", table, "--label-column", "kind", *FAST, "--json")
    assert compared.code == 0
    assert sum(compared.json["images"].values()) == 120
    assert all(12 <= compared.json["images"][part] <= 40 for part in ("validation", "test"))


def test_labels_that_occur_together(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, together=True)
    compared = mi2("adapter", "compare", table, "--label-column", "kind", "--separator", "|", *FAST, "--json")
    assert compared.code == 0
    assert (compared.json["exclusive"], compared.json["labels"]) == (False, ["left", "right"])
    assert compared.json["methods"]["knn"]["accuracy"] is None


def test_columns_of_labels_with_uncertain_cells(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, together=True)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        labels = row.pop("kind").split("|")
        row |= {name: "-1" if index % 11 == 0 else str(int(name in labels)) for name in ("left", "right")}
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    results = [
        mi2("adapter", "compare", table, *words, *FAST, "--json").json
        for words in (("--label-columns", "left,right"), ("--label-columns", "auto"))
    ]
    assert results[0] == results[1]
    assert (results[0]["labels"], results[0]["exclusive"]) == (["left", "right"], False)
    assert results[0]["methods"]["knn"]["label_auc"]["left"]["count"] < 20
    assert results[0]["methods"]["logistic_regression"]["mean_auc"]["value"] > 0.9
    for words in (("--uncertain", "u"), ("--label-columns", "left", "--separator", "|")):
        assert mi2("adapter", "compare", table, *words, "--json").json["error"]["code"] == "option_unused"
    assert (
        mi2("adapter", "compare", table, "--label-columns", "x", "--json").json["error"]["code"]
        == "label_column_unknown"
    )


def share_a_patient(table: Path, first: str, second: str) -> None:
    """Give the first image of one split the patient of the first image of another."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    row_of = {split: next(row for row in rows if row["split"] == split) for split in (first, second)}
    row_of[second]["patient_id"] = row_of[first]["patient_id"]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("splits", [("train", "test"), ("val", "test"), ("train", "val")])
@pytest.mark.parametrize("verb", ["compare", "train"])
def test_refuses_a_patient_in_two_splits(mi2, table: Path, tmp_path: Path, verb: str, splits: tuple[str, str]) -> None:
    share_a_patient(table, *splits)
    out = ("--out", tmp_path / "a.adapter") if verb == "train" else FAST
    refused = mi2("adapter", verb, table, "--label-column", "kind", *out, "--json")
    assert refused.code == 2
    assert refused.json["error"]["code"] == "patients_shared"
    assert "1 patients with 3 images" in refused.json["error"]["message"]
    assert not (tmp_path / "a.adapter").exists()


def test_refuses_thresholds_tested_on_patients_that_chose_them(mi2, tmp_path: Path) -> None:
    table = write_table(tmp_path / "set", count=120, together=True)
    share_a_patient(table, "val", "test")
    words = ("tag", "fit", table, "--label-column", "kind", "--separator", "|", "--out", tmp_path / "t.json", "--json")
    refused = mi2(*words)
    assert refused.code == 2
    assert refused.json["error"]["code"] == "patients_shared"
    assert "1 patients with 3 images" in refused.json["error"]["message"]
    assert not (tmp_path / "t.json").exists()


def test_states_that_patients_are_unknown_next_to_the_figures(mi2, table: Path, tmp_path: Path) -> None:
    with table.open(newline="") as file:
        rows = [{**row, "patient_id": ""} for row in csv.DictReader(file)]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    compare = ("adapter", "compare", table, "--label-column", "kind", *FAST)
    assert "on 30 test images, patients unknown" in mi2(*compare).out
    assert mi2(*compare, "--json").json["unknown_patients"] == {"train": 60, "validation": 30, "test": 30}
    train = ("adapter", "train", table, "--label-column", "kind", "--out", tmp_path / "a.adapter")
    assert mi2(*train).out.count("patients unknown") == 2
    for figures in mi2(*train, "--json").json["figures"]:
        assert (figures["unknown_patients"], figures["patients_checked"]) == (30, False)
    assert mi2("adapter", "info", tmp_path / "a.adapter").out.count("patients unknown") == 2
    fit = ("tag", "fit", table, "--label-column", "kind", "--out", tmp_path / "t.json")
    assert mi2(*fit).out.count("patients unknown") == 2
    assert all(tag["test"]["unknown_patients"] == 30 for tag in mi2(*fit, "--json").json["tags"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--method", "tree"), "adapter_settings_invalid"),
        (("--out", "c.txt"), "output_format_unknown"),
        (("--label-names", "a,b"), "option_unused"),
        (("--seed", "-1"), "adapter_settings_invalid"),
    ],
)
def test_refuses_invalid_options(mi2, table: Path, words: tuple[str, str], code: str) -> None:
    refused = mi2("adapter", "compare", table, "--label-column", "kind", *words, "--json")
    assert refused.code == 2
    assert refused.json["error"]["code"] == code
