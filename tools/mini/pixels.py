"""Decoded images of a table in one file, so that an epoch does not decode them again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight import images
from medimageinsight.files.atomic import replace_file, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.datasets import Sample, Table


class PixelCache:
    """RGB images of any size, (H, W, 3) uint8, memory-mapped; made on first use, and again for other images."""

    def __init__(self, folder: Path, table: Table) -> None:
        names = [f"{sample.source}\0{name}" for sample, name in zip(table.samples, table.ids, strict=True)]
        index, data = folder / "pixels.json", folder / "pixels.bin"
        if not index.exists() or json.loads(index.read_text("utf-8"))["names"] != names:
            _write(table.samples, names, index, data)
        self.shapes = json.loads(index.read_text("utf-8"))["shapes"]
        sizes = [height * width * 3 for height, width in self.shapes]
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.data = np.memmap(data, np.uint8, "r")
        self.names = names

    def __getitem__(self, position: int) -> np.ndarray:
        """Return the image of a sample."""
        start, end = self.offsets[position : position + 2]
        height, width = self.shapes[position]
        return np.asarray(self.data[start:end]).reshape(height, width, 3)


def _write(samples: tuple[Sample, ...], names: list[str], index: Path, data: Path) -> None:
    shapes = []
    with replace_file(data) as partial, partial.open("wb") as file, ThreadPoolExecutor(2) as pool:
        for pixels in pool.map(lambda sample: images.load(sample.image_source()), samples):
            shapes.append(pixels.shape[:2])
            file.write(pixels.tobytes())
    write_text(index, json.dumps({"names": names, "shapes": shapes}))
