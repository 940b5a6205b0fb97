"""The files of a source: a file, a folder, an archive, a medium with a DICOMDIR, or a study on a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from medimageinsight.errors import InputError
from medimageinsight.studies.files import FileCollection, LocalFile, MemoryFile, StudyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.images import Limits
    from medimageinsight.studies.warnings import OnFailure

StudySource: TypeAlias = Union[str, "os.PathLike[str]", bytes, FileCollection]
"""A file, a folder, an archive, a file's bytes, or a collection such as a study on a DICOMweb server."""


def source_name(source: StudySource) -> str:
    """Return the source as it was given; empty for bytes."""
    if isinstance(source, FileCollection):
        return source.name
    return "" if isinstance(source, bytes) else os.fspath(source)


def list_files(source: StudySource, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:
    """Yield the files of a source, without hidden ones; `failed` is called for those that cannot be listed."""
    try:
        yield from _list(source, limits, failed)
    except InputError as error:
        failed(source_name(source), error)


def _list(source: StudySource, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:
    if isinstance(source, FileCollection):
        yield from source.files(limits, failed)
    elif isinstance(source, bytes):
        yield MemoryFile(source)
    elif not Path(source).is_dir():
        yield LocalFile(os.fspath(source))
    else:
        yield from _walk(os.fspath(source))


def _walk(folder: str) -> Iterator[StudyFile]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield LocalFile(os.path.join(parent, name))  # noqa: PTH118 - the folder's name as it was given
