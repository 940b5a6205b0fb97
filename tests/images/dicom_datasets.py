"""Small DICOM datasets, and the window formula of the standard."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medimageinsight import images
from medimageinsight.errors import ImageError

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
CT = "1.2.840.10008.5.1.4.1.1.2"


def make_dataset(pixels: np.ndarray, **elements: Any) -> Dataset:
    """Return an uncompressed dataset of stored values (H, W), (frames, H, W) or, with SamplesPerPixel=3, (H, W, 3)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CT
    colour = elements.get("SamplesPerPixel") == 3
    if pixels.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def sequence_item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def to_file_bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def decode_grey(source: object, **options: Any) -> np.ndarray:
    decoded = images.open(source, **options)
    assert decoded.image.mode == "L"
    return np.asarray(decoded.image)


def error_code(source: object, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.open(source, **options)
    assert "\n" not in caught.value.message
    return caught.value.code


def linear_window(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, as printed."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0
    if x > center - 0.5 + (width - 1) / 2:
        return 255
    return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255


LEVELS = np.arange(-200, 200, dtype=np.int16).reshape(20, 20)
