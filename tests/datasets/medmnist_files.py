"""Small files in the form of MedMNIST: bright bands at the height of the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = 3
COUNTS = {"train": 60, "val": 24, "test": 40}


def make_arrays(*, side: int = 28, rgb: bool = False, together: bool = False) -> dict[str, NDArray[np.uint8]]:
    """Return the six arrays; with ``together`` an image has any number of labels."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in COUNTS.items():
        flags = np.eye(CLASSES, dtype=np.uint8)[np.arange(count) % CLASSES]
        if together:
            flags = rng.integers(0, 2, (count, CLASSES), dtype=np.uint8)
        images = rng.integers(0, 90, (count, side, side, *([3] if rgb else [])), dtype=np.uint8)
        height = side // CLASSES
        for image, row in zip(images, flags, strict=True):
            for label in np.flatnonzero(row):
                image[label * height : (label + 1) * height] += 150
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = flags if together else flags.argmax(axis=1).astype(np.uint8)[:, None]
    return arrays


def write_npz(path: Path, **changed: object) -> Path:
    """Write a file; arguments of `make_arrays`, or arrays that replace its own."""
    options = {name: changed.pop(name) for name in ("side", "rgb", "together") if name in changed}
    arrays = {**make_arrays(**options), **changed}
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
