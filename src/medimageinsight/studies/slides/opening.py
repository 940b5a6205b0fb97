"""Recognise slides, and open them by the library that reads them."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.errors import ImageError
from medimageinsight.images import dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.files import BEGINNING
from medimageinsight.studies.slides.dicom import DicomPyramid
from medimageinsight.studies.slides.openslide_pyramid import OpenSlidePyramid, has_openslide
from medimageinsight.studies.slides.tiff import TiffPyramid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.slides.pyramid import Pyramid

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MARKS = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips")  # of tifffile, one for each vendor
_LARGE = 1 << 26  # pixels of a tiled file without levels from which on it is a slide
_MAX_SIZE_RATIO = 1.05  # of the sides of a level, whose ratio differs only by rounding
_MIRAX = ".mrxs"  # a JPEG file, and a folder of the same name: recognised by its name alone


def is_slide(file: StudyFile) -> bool:
    """Return whether a file that is no DICOM file is a slide; one that cannot be read is none.

    A TIFF file is one if it has the marks of a vendor, is tiled and has levels of one image, or is tiled and has more
    than 67 million pixels. Pages of other contents or without tiles remain pages.

    Raises:
        OSError: The file cannot be opened.
    """
    if file.name.lower().endswith(_MIRAX):
        return True
    with file.open() as opened:
        if not opened.read(4).startswith(_TIFF):
            return False
        opened.seek(0)
        try:
            with suppress_decoder_warnings():
                return _is_slide_tiff(opened, PurePath(file.name).name)
        except Exception:  # damaged files make tifffile raise anything; the reader of pages reports the reason
            return False


def _is_slide_tiff(opened: BinaryIO, name: str) -> bool:
    from tifffile import TiffFile

    with TiffFile(opened, name=name) as tiff:
        if any(getattr(tiff, mark) for mark in _MARKS):
            return True
        page = tiff.pages[0].aspage()
        if not page.is_tiled:
            return False
        return page.imagewidth * page.imagelength > _LARGE or len(tiff.series[0].levels) > 1


def open_pyramid(files: Sequence[StudyFile]) -> Pyramid:
    """Open a slide: a file, or the DICOM instances of one series.

    tiffslide comes first, so that vectors do not depend on whether OpenSlide is installed.

    Raises:
        ImageError: ``slide_damaged``, ``slide_unsupported``, ``slide_no_levels``, ``slide_too_large``,
            ``slide_extra_missing``.
        OSError: A file cannot be opened.
    """
    first = files[0]
    with first.open() as opened:
        beginning = opened.read(BEGINNING)
    if dicom.is_dicom(beginning):
        return DicomPyramid(files)
    if not beginning.startswith(_TIFF):
        if first.local_path is None:
            raise ImageError(
                "expected a slide in one TIFF file or DICOM files, got another: read it from a folder",
                code="slide_unsupported",
            )
        return OpenSlidePyramid(first.local_path)
    try:
        return TiffPyramid(first)
    except ImageError as error:
        if error.code == "slide_unsupported" and first.local_path is not None and has_openslide():
            try:
                return OpenSlidePyramid(first.local_path)
            except ImageError:
                pass
        raise
