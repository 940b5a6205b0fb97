"""Files with one image, or with pages or frames: TIFF, GIF, PNG, WebP."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from medimageinsight import images
from medimageinsight.images import raster
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.shared import Shared
from medimageinsight.studies.study_image import StudyImage

if TYPE_CHECKING:
    from medimageinsight.images import DecodedImage, Limits, WindowSelection
    from medimageinsight.images.raster import DecodeFrame
    from medimageinsight.studies.files import StudyFile

_BEGINNING = 1 << 16  # bytes that have what tells a single image from several


def read_raster(file: StudyFile, limits: Limits) -> Study:
    """Return the study of a file: a series of its pages or frames in their order.

    A file that begins as one with a single image is not read to its end.

    Raises:
        ImageError: It is no image, or cannot be read.
    """
    with file.open() as opened:
        beginning = opened.read(_BEGINNING)
        if not raster.is_image(beginning):
            raise raster.not_opened(beginning, opened.seek(0, os.SEEK_END))
    count = 1 if _is_single(beginning) else images.count_frames(file.read(limits), limits=limits)
    if count == 1:
        pages = [raster_image(file, None)]
    else:
        shared = _Pages(file=file)
        pages = [
            StudyImage(origin=replace(file.origin, frame=index), read=partial(_decode_page, shared, index))
            for index in range(count)
        ]
    series = Series(kind="image" if count == 1 else "frames", images=pages, key=file.name, source=file.name)
    return Study(key=file.name, source=file.name, series=(series,))


def raster_image(file: StudyFile, frame: int | None) -> StudyImage:
    """Return a page or frame of a file, or its only image."""
    return StudyImage(origin=replace(file.origin, frame=frame), read=partial(_decode, file, frame or 0))


def _is_single(beginning: bytes) -> bool:
    """Return whether a file has one image, as far as its beginning shows that."""
    if beginning.startswith(b"\x89PNG"):
        pixels = beginning.find(b"IDAT")  # the chunk of an animation is before it (PNG 3rd edition, 11.3.6)
        return pixels >= 0 and b"acTL" not in beginning[:pixels]
    return beginning.startswith((b"\xff\xd8\xff", b"BM")) and b"MPF\0" not in beginning


@dataclass(frozen=True, eq=False)
class _Pages(Shared["DecodeFrame"]):
    """The encoded file of several pages."""

    file: StudyFile

    @property
    def size(self) -> int:
        with self.file.open() as opened:
            return opened.seek(0, os.SEEK_END)

    def load(self, limits: Limits) -> DecodeFrame:
        return raster.open_frames(self.file.read(limits), limits)


def _decode_page(pages: _Pages, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    return pages.get(limits)(frame, window, limits)


def _decode(file: StudyFile, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    return images.open(file.read(limits), frame=frame, window=window, limits=limits)
