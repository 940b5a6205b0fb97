"""A CT file with two windows of its own, and its pixels windowed by the standard's formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.images.dicom_datasets import linear_window, make_dataset, to_file_bytes

if TYPE_CHECKING:
    from pathlib import Path

HOUNSFIELD = np.random.default_rng(3).integers(-1000, 1500, (32, 32), dtype=np.int16)
LUNG, BONE, OWN = (-600, 1500), (400, 1800), (40, 400)  # center and width; the last is the file's first


def ct_bytes() -> bytes:
    """Return a file of the values in Hounsfield units, stored with an intercept, whose own windows are OWN and BONE."""
    return to_file_bytes(
        make_dataset(
            HOUNSFIELD + np.int16(1024),
            Modality="CT",
            RescaleSlope=1,
            RescaleIntercept=-1024,
            RescaleType="HU",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            WindowCenter=[OWN[0], BONE[0]],
            WindowWidth=[OWN[1], BONE[1]],
        )
    )


def ct_file(folder: Path, name: str = "ct.dcm") -> Path:
    """Write such a file."""
    path = folder / name
    path.write_bytes(ct_bytes())
    return path


def windowed(window: tuple[float, float]) -> np.ndarray:
    """Return the image as (H, W) uint8, by the formula as it is printed."""
    grey = np.vectorize(linear_window, otypes=[float])(HOUNSFIELD, *window)
    return np.floor(grey + 0.5).astype(np.uint8)


def stretched(low: float, high: float) -> np.ndarray:
    """Return the image as (H, W) uint8, between two percentiles of its values."""
    first, last = np.percentile(HOUNSFIELD, (low, high))
    grey = (np.clip(HOUNSFIELD.astype(float), first, last) - first) / (last - first) * 255
    return np.floor(grey + 0.5).astype(np.uint8)
