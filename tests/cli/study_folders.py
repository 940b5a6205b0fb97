"""Folders of small DICOM series, and files of several pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom.uid import generate_uid

from tests.images.dicom_datasets import make_dataset

if TYPE_CHECKING:
    from pathlib import Path


def write_series(
    folder: Path, *, patient: str, study: str, series: str, level: int = 0, count: int = 4, size: int = 24
) -> list[Path]:
    """Write the slices of a CT series, named against their order; `level` is their mean grey value."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([level, count])
    paths = []
    for index in range(count):
        pixels = np.clip(rng.normal(level + 20 * index, 30, (size, size)), 0, 4000).astype(np.uint16)
        dataset = make_dataset(
            pixels,
            PatientID=patient,
            StudyInstanceUID=generate_uid(entropy_srcs=[study]),
            SeriesInstanceUID=generate_uid(entropy_srcs=[study, series]),
            SOPInstanceUID=generate_uid(entropy_srcs=[study, series, str(index)]),
            Modality="CT",
            InstanceNumber=index + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, 5 * index],
            PixelSpacing=[1, 1],
            WindowCenter=200,
            WindowWidth=800,
        )
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = folder / f"IM{count - index:02}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_pages(path: Path, levels: tuple[int, ...] = (0, 255, 128)) -> Path:
    """Write a TIFF with a page of each grey level."""
    first, *others = (Image.fromarray(np.full((32, 32), level, np.uint8)) for level in levels)
    first.save(path, save_all=True, append_images=others)
    return path
