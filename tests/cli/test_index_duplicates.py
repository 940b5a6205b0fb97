"""``mi2 index duplicates``: measured thresholds, groups, tables."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")


@pytest.fixture
def store(mi2, tmp_path: Path) -> Path:
    """A store of five images and copies of two of them, in the splits train and test."""
    folder = tmp_path / "images"
    rows = ["path,split"]
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((240, 180), Image.Resampling.BICUBIC)
        (folder / "train").mkdir(parents=True, exist_ok=True)
        image.save(folder / "train" / f"{number}.png")
        rows.append(f"train/{number}.png,train")
        if number < 2:
            (folder / "test").mkdir(exist_ok=True)
            image.resize((120, 90)).save(folder / "test" / f"{number}.jpg")
            rows.append(f"test/{number}.jpg,{'test' if number else 'train'}")
    (folder / "splits.csv").write_text("\n".join(rows), "utf-8")
    added = mi2("index", "add", tmp_path / "store", folder, "--metadata", folder / "splits.csv", "--root", folder)
    assert added.code == 0, added.err
    return tmp_path / "store"


def test_measures_its_threshold_and_returns_groups(mi2, store: Path) -> None:
    found = mi2("index", "duplicates", store, "--json").json
    assert (found["threshold_source"], found["truncated"]) == ("measured", False)
    assert 0 < found["threshold"] < 1
    assert found["pair_count"] == len(found["pairs"]) == 2
    assert [len(cluster["images"]) for cluster in found["clusters"]] == [2, 2]
    for cluster in found["clusters"]:
        assert cluster["keep"] == cluster["images"][0]["id"]
        assert cluster["keep"].endswith(".png")  # the larger image
        assert [image["keep"] for image in cluster["images"]] == [True, False]
    shown = mi2("index", "duplicates", store)
    assert "measured with copies" in shown.err
    assert "2 groups with 4 images" in shown.err
    assert shown.out.count("keep") == 2
    none = mi2("index", "duplicates", store, "--where", "split = 'val'")
    assert (none.code, none.out) == (0, "")
    assert "no pairs" in none.err


def test_reports_more_pairs_than_the_limit(mi2, store: Path) -> None:
    limited = mi2("index", "duplicates", store, "--limit", 1, "--json").json
    assert (limited["truncated"], limited["pair_count"], len(limited["pairs"])) == (True, 2, 1)
    assert len(limited["clusters"]) == 2
    assert "1 of 2 pairs" in mi2("index", "duplicates", store, "--limit", 1).err


def test_writes_a_table_of_groups_between_splits(mi2, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "duplicates.csv"
    result = mi2("index", "duplicates", store, "--between", "split", "--keep", "test", "--out", out, "--json")
    assert result.json["between"] == {
        "column": "split",
        "crossings": [{"values": ["test", "train"], "clusters": 1, "pairs": 1}],
    }
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["cluster"], row["keep"], row["value"], row["width"]) for row in rows] == [
        ("1", "true", "test", "120"),
        ("1", "false", "train", "240"),
    ]
    assert mi2("index", "duplicates", store, "--out", tmp_path / "a.xlsx").code == 2


def test_without_files_it_asks_for_a_threshold(mi2, store: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "moved")
    refused = mi2("index", "duplicates", store, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "duplicates_uncalibrated")
    given = mi2("index", "duplicates", store, "--threshold", 0.01, "--json").json
    assert given["unread"] == given["candidates"] == given["pair_count"] > 0
    assert "cannot be read" in mi2("index", "duplicates", store, "--threshold", 0.01).err
