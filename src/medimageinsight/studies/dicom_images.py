"""Decode the images of DICOM files when they are needed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from medimageinsight import images
from medimageinsight.images import dicom
from medimageinsight.studies.files import DatasetFile
from medimageinsight.studies.parsed_files import parse_file
from medimageinsight.studies.study_image import StudyImage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images import DecodedImage, Limits, WindowSelection
    from medimageinsight.studies.files import StudyFile


def dicom_image(
    file: StudyFile,
    frame: int,
    *,
    count: int,
    position_mm: float | None = None,
    time_ms: float | None = None,
) -> StudyImage:
    """Return one frame of a DICOM file with ``count`` frames."""
    return StudyImage(
        origin=file.origin if count == 1 else replace(file.origin, frame=frame),
        read=partial(_decode, file, frame, count > 1),
        position_mm=position_mm,
        time_ms=time_ms,
        read_values=partial(_read_values, file, frame, count > 1),
    )


def read_dataset(file: StudyFile, limits: Limits) -> Dataset | None:
    """Return the dataset of a file without its pixels; None if it can no longer be read."""
    try:
        if (known := file.header(limits)) is not None:
            return known
        with file.open() as opened:
            return dicom.read_header(opened, limits).dataset
    except (OSError, ValueError):  # InputError is a ValueError
        return None


def _decode(file: StudyFile, frame: int, shared: bool, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    return images.open(_source(file, shared, limits), frame=frame, window=window, limits=limits)


def _read_values(file: StudyFile, frame: int, shared: bool, limits: Limits) -> NDArray[Any]:
    return images.read_values(_source(file, shared, limits), frame=frame, limits=limits)


def _source(file: StudyFile, shared: bool, limits: Limits) -> bytes | Dataset:
    """Return what `images.open` decodes: a file with several frames is parsed once for all of them."""
    return parse_file(file, limits) if shared or isinstance(file, DatasetFile) else file.read(limits)
