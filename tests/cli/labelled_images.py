"""Small images of three kinds, which any image encoder distinguishes, and a table of them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("left", "right", "whole")


def write_image(path: Path, kind: str, seed: int) -> Path:
    """Write noise with a bright left half, a bright right half, or bright throughout."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (24, 24, 3), dtype=np.uint8)
    pixels[:, {"left": slice(12), "right": slice(12, 24), "whole": slice(24)}[kind]] += 150
    Image.fromarray(pixels).save(path)
    return path


def write_table(
    folder: Path,
    *,
    count: int = 60,
    splits: tuple[str, ...] = ("train", "train", "val", "test"),
    together: bool = False,
) -> Path:
    """Write images of alternating kinds with ``table.csv``; a patient has two images, in the same split.

    With ``together`` a wholly bright image is labelled ``left|right``, and dark images have no label.
    """
    folder.mkdir(exist_ok=True)
    rows = []
    for index in range(count):
        patient = index // 6
        kind = KINDS[index % 3]
        write_image(folder / f"{index}.png", kind, index)
        label = "left|right" if together and kind == "whole" else kind
        if together and index % 12 == 0:
            Image.fromarray(np.full((24, 24, 3), index, np.uint8)).save(folder / f"{index}.png")
            label = ""
        split = splits[patient % len(splits)] if splits else ""
        rows.append([f"{index}.png", "an image", label, "made", split, f"p{patient}-{index % 3}"])
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "caption", "kind", "source", "split", "patient_id"], *rows])
    return folder / "table.csv"
