"""Read studies from files, folders and archives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits
from medimageinsight.studies.dicom_series import DicomGroups
from medimageinsight.studies.files import BEGINNING, FileCollection, StudyFile
from medimageinsight.studies.formats import Format, recognise
from medimageinsight.studies.listing import StudySource, list_files, source_name
from medimageinsight.studies.raster_pages import read_raster
from medimageinsight.studies.selection import parse_selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medimageinsight.studies.pooling import Pooling
    from medimageinsight.studies.series import Study
    from medimageinsight.studies.warnings import OnFailure


def read(
    sources: StudySource | Iterable[StudySource],
    *,
    select: str | None = None,
    pooling: Pooling = "mean",
    failed: OnFailure | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[Study]:
    """Yield the studies of files and folders.

        for study in studies.read("archive/", select="even:16"):
            for series in study.series:
                series.images, series.warnings

    The DICOM files of one source are grouped by study and series, whatever their names and folders; every other file is
    a study of its own.

    Args:
        sources: Files, folders, archives, the bytes of files, or studies on a DICOMweb server (`DicomWeb.search`).
        select: Which images of a series are used, see `parse_selection`; by default as `default_selection`.
        pooling: How the vectors of images become one, see `pool`.
        failed: Called for each file that cannot be used; by default the first one ends the call.
        limits: Bounds on the size of files.

    Raises:
        InputError: A source cannot be read, without `failed`; or an argument is invalid.
    """
    selection = None if select is None else parse_selection(select)
    listed = [sources] if isinstance(sources, str | os.PathLike | bytes | FileCollection) else sources
    return (
        study.with_options(selection=selection, pooling=pooling)
        for source in listed
        for study in _read_source(source, failed or _raise, limits)
    )


def _raise(name: str, error: InputError) -> None:
    error.add_note(name)
    raise error


def _read_source(source: StudySource, failed: OnFailure, limits: Limits) -> Iterator[Study]:
    groups = DicomGroups(source_name(source), limits)
    for file in list_files(source, limits, failed):
        try:
            if file.header(limits) is not None or _recognise(file) == "dicom":
                groups.add(file)
                continue
            study = read_raster(file, limits)
        except OSError as error:
            unreadable = f"expected a readable file, got a failure to open it ({type(error).__name__})"
            failed(file.name, ImageError(f"{unreadable}: check its path and permissions", code="image_unreadable"))
        except InputError as error:
            failed(file.name, error)
        else:
            yield study
    yield from groups.studies(failed)


def _recognise(file: StudyFile) -> Format:
    with file.open() as opened:
        return recognise(opened.read(BEGINNING), file.name)
