"""Slides in DICOM files (VL Whole Slide Microscopy Image, PS3.3 A.32.8), read by wsidicom."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.studies.slides.pyramid import (
    Pyramid,
    damaged,
    extra_missing,
    make_levels,
    slide_errors,
    unsupported,
)
from medimageinsight.studies.slides.tiff import excluded_images, to_rgb
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    from medimageinsight.studies.files import StudyFile

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage


class DicomPyramid(Pyramid):
    """The instances of one series: levels, possibly concatenations, as TILED_FULL or TILED_SPARSE."""

    def __init__(self, files: Sequence[StudyFile]) -> None:
        """Open the files and read their datasets.

        Raises:
            ImageError: ``slide_damaged``, ``slide_unsupported``, ``slide_extra_missing``, ``slide_no_levels``,
                ``slide_too_large``.
        """
        try:
            from wsidicom import WsiDicom
            from wsidicom.file import WsiDicomFileSource
        except ImportError:
            raise extra_missing("slides", "reading a DICOM slide") from None
        self._closing = ExitStack()
        try:
            with slide_errors():
                self._files, unusable = self._open_usable(files)
                source = WsiDicomFileSource.open_streams(self._files)
                self._slide: Any = self._closing.enter_context(WsiDicom(source))
                self._describe(unusable)
        except BaseException:
            self.close()
            raise

    def _open_usable(self, files: Sequence[StudyFile]) -> tuple[list[BinaryIO], int]:
        """Open the files that wsidicom can use, without copies; also return how many others there are.

        wsidicom logs the paths of files that it cannot use.
        """
        from wsidicom.errors import WsiDicomNotSupportedError
        from wsidicom.file.io import WsiDicomReader
        from wsidicom.file.io.wsidicom_io import WsiDicomIO

        usable: list[BinaryIO] = []
        widths: dict[int, int] = {}  # of the levels
        seen: set[str] = set()
        not_supported = False
        for index, file in enumerate(files):
            stream = self._closing.enter_context(file.open())
            try:
                reader = WsiDicomReader(WsiDicomIO(stream))
            except WsiDicomNotSupportedError:
                not_supported = True
                continue
            except Exception:  # noqa: S112 - damaged files raise anything; they are counted
                continue
            if (uid := str(reader.uids.instance)) in seen:
                continue
            seen.add(uid)
            if getattr(reader.image_type, "name", "") == "VOLUME":
                widths[index] = reader.dataset.image_size.width
            usable.append(stream)
        if not widths and not_supported:
            raise unsupported("another transfer syntax")
        if not widths and len(usable) < len(files):
            raise damaged()
        if not widths:
            raise ImageError(
                "expected a DICOM series with the levels of a slide, got only its label, overview or thumbnail: "
                "add the instances with the levels",
                code="slide_no_levels",
            )
        self.base = max(widths, key=lambda index: (widths[index], -index))
        return usable, len(files) - len(usable)  # copies of an instance among them

    def _describe(self, unusable: int) -> None:
        pyramid = self._slide.pyramid
        groups = sorted(pyramid, key=lambda group: -group.size.width)
        self.levels = make_levels([(group.size.width, group.size.height) for group in groups])
        self._numbers = [group.level for group in groups]
        spacing = self._slide.pixel_spacing  # millimetres
        if spacing is not None:
            self.stated_resolution = (float(spacing.width) * 1000, float(spacing.height) * 1000)
        self.vendor = "dicom"
        named = {"label": self._slide.labels, "overview": self._slide.overviews, "thumbnail": pyramid.thumbnails}
        warnings = []
        if names := [name for name, images in named.items() if images is not None and len(images)]:
            warnings.append(excluded_images(names))
        if unusable:
            text = f"{unusable:,} of the files are copies of others or cannot be read: levels or parts may be missing"
            warnings.append(StudyWarning("slide_files_unusable", text))
        if (others := len(self._slide.pyramids) - 1) > 0:
            text = f"the series has {others:,} further scans, such as other focal planes, which were left out"
            warnings.append(StudyWarning("slide_scans_excluded", text))
        self.warnings = tuple(warnings)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return pixels of a level; parts without a frame are white."""
        with slide_errors():
            pixels = self._slide.read_region((x, y), self._numbers[level], (width, height), threads=1, as_array=True)
            if pixels.dtype != np.uint8:
                raise unsupported("pixels of more than 8 bits")
            return to_rgb(pixels)

    def close(self) -> None:
        """Close the files."""
        self._closing.close()
