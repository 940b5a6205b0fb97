"""Files with one image, or with pages or frames: TIFF, GIF, PNG, WebP."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from medimageinsight import images
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.study_image import StudyImage

if TYPE_CHECKING:
    from medimageinsight.images import DecodedImage, Limits, WindowSelection
    from medimageinsight.studies.files import StudyFile


def read_raster(file: StudyFile, limits: Limits) -> Study:
    """Return the study of a file: a series of its pages or frames in their order.

    Raises:
        ImageError: The file cannot be read.
    """
    count = images.count_frames(file.read(limits), limits=limits)
    pages = [raster_image(file, None if count == 1 else index) for index in range(count)]
    series = Series(kind="image" if count == 1 else "frames", images=pages, key=file.name, source=file.name)
    return Study(key=file.name, source=file.name, series=(series,))


def raster_image(file: StudyFile, frame: int | None) -> StudyImage:
    """Return a page or frame of a file, or its only image."""
    return StudyImage(origin=replace(file.origin, frame=frame), read=partial(_decode, file, frame or 0))


def _decode(file: StudyFile, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    return images.open(file.read(limits), frame=frame, window=window, limits=limits)
