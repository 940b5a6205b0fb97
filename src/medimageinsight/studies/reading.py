"""Read studies from files, folders and archives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits
from medimageinsight.studies.dicom_series import DicomGroups
from medimageinsight.studies.files import BEGINNING, LocalFile, MemoryFile, StudyFile
from medimageinsight.studies.formats import recognise
from medimageinsight.studies.raster_pages import read_raster
from medimageinsight.studies.selection import parse_selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medimageinsight.studies.pooling import Pooling
    from medimageinsight.studies.series import Study
    from medimageinsight.studies.warnings import OnFailure


StudySource: TypeAlias = Union[str, "os.PathLike[str]", bytes]
"""A file, a folder, or a file's bytes."""


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
        sources: Files, folders, or the bytes of files.
        select: Which images of a series are used, see `parse_selection`; by default as `default_selection`.
        pooling: How the vectors of images become one, see `pool`.
        failed: Called for each file that cannot be used; by default the first one ends the call.
        limits: Bounds on the size of files.

    Raises:
        InputError: A source cannot be read, without `failed`; or an argument is invalid.
    """
    selection = None if select is None else parse_selection(select)
    listed = [sources] if isinstance(sources, str | os.PathLike | bytes) else sources
    return (
        study.with_options(selection=selection, pooling=pooling)
        for source in listed
        for study in _read_source(source, failed or _raise, limits)
    )


def _raise(name: str, error: InputError) -> None:
    error.add_note(name)
    raise error


def _read_source(source: StudySource, failed: OnFailure, limits: Limits) -> Iterator[Study]:
    files = [MemoryFile(source)] if isinstance(source, bytes) else _list_files(os.fspath(source))
    groups = DicomGroups("" if isinstance(source, bytes) else os.fspath(source), limits)
    for file in files:
        try:
            with file.open() as opened:
                beginning = opened.read(BEGINNING)
            if recognise(beginning, file.name) == "dicom":
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


def _list_files(source: str) -> Iterator[StudyFile]:
    if not Path(source).is_dir():
        yield LocalFile(source)
        return
    for parent, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield LocalFile(os.path.join(parent, name))  # noqa: PTH118 - the folder's name as it was given
