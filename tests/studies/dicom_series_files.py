"""DICOM series that tests write: slices of known pixels, positions and phases, and multi-frame files."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medimageinsight import studies
from medimageinsight.images import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from medimageinsight.errors import InputError
    from medimageinsight.studies import Series, Study

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
STUDY = "1.2.826.0.1.1"
SERIES = "1.2.826.0.1.2"


def make_dataset(pixels: np.ndarray, sop_class: str = CT, modality: str = "CT", **elements: Any) -> Dataset:
    """Return a dataset of stored values (H, W) or (N, H, W) uint16, with UIDs of one study and series."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SeriesNumber = STUDY, SERIES, 1
    dataset.PatientID, dataset.Modality = "P1", modality
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def level(value: float, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Return the pixels of a slice that `levels` recognises: one grey level."""
    return np.full(size, value, np.uint16)


def make_slice(value: int, z: float, *, size: tuple[int, int] = (8, 8), **elements: Any) -> Dataset:
    """Return an axial CT slice of one grey level."""
    position = {"ImagePositionPatient": [-100, -100, z], "ImageOrientationPatient": list(AXIAL)}
    common = {"PixelSpacing": [0.5, 0.5], "InstanceNumber": value, "SliceThickness": 1, "RescaleIntercept": 0}
    return make_dataset(level(value, size), **{**common, **position, "RescaleSlope": 1, **elements})


def write(datasets: Iterable[Dataset], folder: Path, *, seed: int = 0) -> Path:
    """Write files in random order and folders, below names that say nothing."""
    listed = list(datasets)
    random.Random(seed).shuffle(listed)
    for number, dataset in enumerate(listed):
        path = folder / f"d{(number * 7 + seed) % 3}" / f"{(number * 13 + seed) % 1000:03d}_{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return folder


def read_study(source: Any, **options: Any) -> Study:
    """Return the only study of a source, from which nothing failed."""
    (study,) = studies.read(source, **options)
    return study


def read_series(source: Any, **options: Any) -> Series:
    """Return the only series of the only study."""
    (series,) = read_study(source, **options).series
    return series


def read_all(source: Any) -> tuple[list[Study], dict[str, InputError]]:
    """Return the studies of a source, and the errors of files without one."""
    failed: dict[str, InputError] = {}
    return list(studies.read(source, failed=failed.__setitem__)), failed


def levels(series: Series) -> list[int]:
    """Return the grey level of each image, which is its stored value."""
    return [int(np.asarray(image.decode(window=None, limits=Limits()).image).mean()) for image in series.images]


def codes(series: Series) -> list[str]:
    return [warning.code for warning in series.warnings]


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def make_enhanced(
    values: list[int], frames: list[dict[str, Any]], sop_class: str = ENHANCED_CT, **elements: Any
) -> Dataset:
    """Return a multi-frame file of grey levels, whose functional groups have the given macros: keyword to item."""
    shared = {
        "PlaneOrientationSequence": item(ImageOrientationPatient=list(AXIAL)),
        "PixelMeasuresSequence": item(PixelSpacing=[0.5, 0.5], SliceThickness=1),
    }
    modality = "CT" if sop_class == ENHANCED_CT else "MR"
    pixels = np.stack([level(value) for value in values])
    dataset = make_dataset(pixels, sop_class, modality, **elements)
    dataset.SharedFunctionalGroupsSequence = Sequence([_group(shared)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([_group(macros) for macros in frames])
    return dataset


def at(z: float, **content: Any) -> dict[str, Dataset]:
    """Return the macros of a frame at a position, with elements of its FrameContentSequence."""
    return {
        "PlanePositionSequence": item(ImagePositionPatient=[-100, -100, z]),
        "FrameContentSequence": item(**content),
    }


def _group(macros: dict[str, Dataset]) -> Dataset:
    return item(**{keyword: Sequence([macro]) for keyword, macro in macros.items()})
