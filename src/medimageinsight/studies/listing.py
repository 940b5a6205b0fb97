"""The files of a source: a file, a folder, an archive, a medium with a DICOMDIR, or a study on a server."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias, Union

from medimageinsight.errors import InputError
from medimageinsight.files.paths import is_stream
from medimageinsight.studies import archives
from medimageinsight.studies.dicomdir import choose_files, is_dicomdir
from medimageinsight.studies.files import BEGINNING, FileCollection, LocalFile, MemoryFile, StudyFile
from medimageinsight.studies.formats import may_be_image, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from medimageinsight.images import Limits
    from medimageinsight.studies.warnings import OnFailure

StudySource: TypeAlias = Union[str, "os.PathLike[str]", bytes, FileCollection]
"""A file, a folder, an archive, a file's bytes, or a collection such as a study on a DICOMweb server."""


def source_name(source: StudySource) -> str:
    """Return the source as it was given; empty for bytes."""
    if isinstance(source, FileCollection):
        return source.name
    return "" if isinstance(source, bytes) else os.fspath(source)


def list_files(
    source: StudySource, limits: Limits, failed: OnFailure, others: Callable[[str], None] | None = None
) -> Iterator[StudyFile]:
    """Yield the files of a source, without hidden ones, and the members of archives instead of these.

    `failed` is called for what cannot be listed, such as a damaged archive, and `others` with the name of each file of
    a folder or archive that is no image by its name and content, and is left out.
    """
    try:
        if isinstance(source, FileCollection):
            yield from source.files(limits, failed)
            return
        file = MemoryFile(source) if isinstance(source, bytes) else LocalFile(os.fspath(source))
        if isinstance(file, MemoryFile) or not Path(file.path).is_dir():
            yield from _list_file(file, limits, failed, others)
        else:
            yield from _list_folder(file.path, limits, failed, others)
    except InputError as error:
        failed(source_name(source), error)


def _list_file(
    file: StudyFile, limits: Limits, failed: OnFailure, others: Callable[[str], None] | None
) -> Iterator[StudyFile]:
    """Yield a file that was named: a DICOMDIR stands for the files that it lists."""
    path = file.local_path
    if path is None or not is_dicomdir(file, path.name):
        yield from _expand(file, limits, failed, others)
        return
    folder = os.path.dirname(file.origin.path)  # noqa: PTH120 - as it was given
    yield from choose_files(file, _below(folder), limits, failed, listed_only=True)


def _list_folder(
    folder: str, limits: Limits, failed: OnFailure, others: Callable[[str], None] | None
) -> Iterator[StudyFile]:
    """Yield the files below a folder; below one with a DICOMDIR, those that are images."""
    for parent, folders, names in _walk(folder):
        files = {name: LocalFile(os.path.join(parent, name)) for name in names}  # noqa: PTH118 - as it was given
        dicomdir = next((file for name, file in files.items() if is_dicomdir(file, name)), None)
        listed: Iterable[StudyFile] = files.values()
        if dicomdir is not None:
            folders.clear()
            listed = choose_files(dicomdir, _below(parent), limits, failed, listed_only=False)
        for file in listed:
            if not _is_other(file, others):
                yield from _expand(file, limits, failed, others)


def _expand(
    file: StudyFile, limits: Limits, failed: OnFailure, others: Callable[[str], None] | None
) -> Iterator[StudyFile]:
    """Yield the members of an archive, or the file, decompressed where its reader would not do so."""
    try:
        if not _is_packed(file):
            yield file
            return
        members = archives.list_members(file, limits, failed)
        if members is None:
            yield archives.InflatedFile(file)
            return
        for member in _choose_members(list(members), limits, failed):
            if not _is_other(member, others):
                yield from _expand_member(member, failed)
    except OSError:
        yield file  # its reader reports why it cannot be opened
    except InputError as error:
        failed(file.name, error)


def _expand_member(member: StudyFile, failed: OnFailure) -> Iterator[StudyFile]:
    """Yield a member of an archive, decompressed where its reader would not do so; archives are not opened."""
    try:
        packed = _is_packed(member)
        if packed and archives.is_archive(member):
            raise archives.nested()
    except InputError as error:
        failed(member.name, error)
    else:
        yield archives.InflatedFile(member) if packed else member


def _is_other(file: StudyFile, others: Callable[[str], None] | None) -> bool:
    """Return whether a file is no image by its name and content, and count it."""
    try:
        with file.open() as opened:
            beginning = opened.read(BEGINNING)
    except (InputError, OSError):  # reported where it is read
        return False
    name = file.origin.member or file.origin.path
    other = recognise(beginning, name) == "raster" and not may_be_image(beginning, name)
    if other and others is not None:
        others(file.name)
    return other


def _is_packed(file: StudyFile) -> bool:
    with file.open() as opened:
        return recognise(opened.read(BEGINNING), file.name) in ("zip", "tar", "gzip")


def _choose_members(members: Sequence[StudyFile], limits: Limits, failed: OnFailure) -> Iterable[StudyFile]:
    """Return the members of an archive; if it has a DICOMDIR, only the images, without the viewers next to them."""
    by_name = {PurePosixPath(member.origin.member).parts: member for member in members}
    media = [(names[:-1], file) for names, file in by_name.items() if is_dicomdir(file, names[-1])]
    if not media:
        return members
    chosen: list[Iterable[StudyFile]] = []
    for folder, dicomdir in media:
        below = {names: file for names, file in by_name.items() if names[: len(folder)] == folder}
        by_name = {names: file for names, file in by_name.items() if names not in below}
        relative = {names[len(folder) :]: file for names, file in below.items()}
        chosen.append(choose_files(dicomdir, relative, limits, failed, listed_only=False))
    return chain(*chosen, by_name.values())


def _below(folder: str) -> dict[tuple[str, ...], StudyFile]:
    """Return the files below a folder, by the names of their folders and their own."""
    found: dict[tuple[str, ...], StudyFile] = {}
    for parent, _, names in _walk(folder):
        for name in names:
            path = os.path.join(parent, name) if folder else os.path.normpath(os.path.join(parent, name))  # noqa: PTH118
            found[PurePath(os.path.relpath(path, folder or ".")).parts] = LocalFile(path)
    return found


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, sorted, without hidden names, pipes and devices."""
    for parent, folders, names in os.walk(folder or "."):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        yield parent, folders, [name for name in shown if not is_stream(os.path.join(parent, name))]  # noqa: PTH118
