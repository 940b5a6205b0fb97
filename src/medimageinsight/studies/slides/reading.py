"""Slides as studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.images import dicom
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.slides.handles import SlideHandle
from medimageinsight.studies.slides.tiles import find_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.slides.options import SlideOptions

_MODALITY = "SM"  # slide microscopy, PS3.3 C.7.3.1.1.1


def read_slide(file: StudyFile, options: SlideOptions, limits: Limits) -> Study:
    """Return the study of a slide in one file, see `is_slide`: a series of its tiles that have tissue.

    Raises:
        ImageError: ``slide_no_tissue``, ``slide_damaged``, ``slide_unsupported``, ``slide_too_large``,
            ``slide_extra_missing``.
        OSError: The file cannot be opened.
    """
    handle = SlideHandle([file])
    tiles, warnings = find_tiles(file.origin, handle, options, limits)
    name = file.name
    series = Series(kind="slide", images=tiles, key=name, source=name, modality=_MODALITY, warnings=warnings)
    return Study(key=name, source=name, series=(series,))


def read_dicom_slide(
    files: Sequence[StudyFile], *, key: str, source: str, options: SlideOptions, limits: Limits
) -> Series:
    """Return the series of a slide's tiles, from the DICOM instances of one series: all its levels and parts.

    Raises:
        ImageError: As `read_slide`; ``slide_no_levels`` for a label or overview alone.
        OSError: A file cannot be opened.
    """
    handle = SlideHandle(files)
    with handle.use() as pyramid:
        base = files[pyramid.base]
    tiles, warnings = find_tiles(base.origin, handle, options, limits)

    def header() -> Dataset | None:
        with base.open() as opened:
            return dicom.read_header(opened, limits).dataset

    return Series(
        kind="slide",
        images=tiles,
        key=key,
        source=source,
        modality=_MODALITY,
        warnings=warnings,
        header=header,
    )
