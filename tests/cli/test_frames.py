"""Frames of one file in a store: each has an item of its own, and sheets show the frame that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lancedb", reason="a store needs the extra search")

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = (0, 255, 128)  # of the pages


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Write a TIFF of a black, a white and a grey page."""
    path = tmp_path / "pages.tif"
    first, *others = (Image.fromarray(np.full((32, 32), level, np.uint8)) for level in LEVELS)
    first.save(path, save_all=True, append_images=others)
    return path


def test_each_frame_has_an_item_and_is_drawn(mi2, pages: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for frame in range(3):
        assert mi2("index", "add", store, pages, "--frame", frame).code == 0
    assert mi2("index", "add", store, pages, "--frame", 1).code == 2, "the item exists"
    assert mi2("index", "info", store, "--json").json["count"] == 3
    sheet = tmp_path / "sheet.png"
    found = mi2(
        "search",
        store,
        "--image",
        pages,
        "--frame",
        1,
        "-k",
        1,
        "--json",
        "--contact-sheet",
        sheet,
        "--folder",
        tmp_path,
    )
    (hit,) = found.json["hits"]
    assert (hit["id"], hit["metadata"]) == (f"{pages}#frame=1", {"frame_index": 1})
    assert hit["score"] == pytest.approx(1, abs=1e-5)
    with Image.open(sheet) as drawn:
        pixels = np.asarray(drawn.convert("L"))
    white = pixels == 255
    assert white[:, : pixels.shape[1] // 2].sum() > 1000, "the query"
    assert white[:, pixels.shape[1] // 2 :].sum() > 1000, "the hit"


def test_the_first_frame_is_the_file_itself(mi2, pages: Path, tmp_path: Path) -> None:
    mi2("index", "add", tmp_path / "store", pages)
    (hit,) = mi2("search", tmp_path / "store", "--id", pages, "--json").json["hits"]
    assert (hit["id"], hit["metadata"]) == (str(pages), {})
