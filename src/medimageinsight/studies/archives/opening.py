"""Recognise archives by their content, and list their members."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits
from medimageinsight.studies.archives.inflate import InflatedFile, compression_of
from medimageinsight.studies.archives.limits import ArchiveLimits
from medimageinsight.studies.archives.members import Archive, Member
from medimageinsight.studies.archives.tar_archive import TarArchive, decompress, is_tar
from medimageinsight.studies.archives.zip_archive import ZIP_MAGIC, ZipArchive
from medimageinsight.studies.files import BEGINNING, LocalFile, StudyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.studies.origin import Origin
    from medimageinsight.studies.warnings import OnFailure

_Kind: TypeAlias = Literal["zip", "tar"]

_OPENED = 4  # archives that stay open for images that are opened again by their origins


def list_members(
    file: StudyFile,
    limits: Limits,
    failed: OnFailure,
    archive_limits: ArchiveLimits = ArchiveLimits(),  # noqa: B008 - frozen
) -> Iterator[StudyFile] | None:
    """Return the members of an archive that are files, without hidden ones; None for a file that is none.

    Archives within it are listed as files, not opened. `failed` is called for members that cannot be read.

    Raises:
        InputError: It cannot be opened (``archive_damaged``, ``archive_encrypted``), or exceeds a limit.
        OSError: The file cannot be read.
    """
    kind, compressed = _recognise(file)
    if kind is None:
        return None
    archive = _open(file, kind, compressed, limits, archive_limits)
    return _list(archive, file, failed)


def open_member(origin: Origin, limits: Limits = Limits()) -> StudyFile:  # noqa: B008 - frozen
    """Return the member that an origin names; the last archives stay open for further calls.

    Raises:
        InputError: ``archive_member_missing``, or as `list_members`.
    """
    try:
        stat = Path(origin.path).stat()
        archive = _open_again(origin.path, (stat.st_mtime_ns, stat.st_size), limits)
    except OSError:
        raise ImageError(
            "expected an archive that can be opened, got a failure to open it: check its path", code="image_not_found"
        ) from None
    if origin.member not in archive.sizes:
        raise archive.problems.get(origin.member) or ImageError(
            "expected the name of a member of the archive, got another: copy it from a result",
            code="archive_member_missing",
        )
    return Member(archive, origin.path, origin.member)


def nested() -> InputError:
    """Return the error of an archive within an archive."""
    return InputError(
        "expected images in the archive, got an archive within it, which is not opened: extract the outer one",
        code="archive_nested",
    )


def is_archive(file: StudyFile) -> bool:
    """Return whether a file is an archive."""
    return _recognise(file)[0] is not None


def _recognise(file: StudyFile) -> tuple[_Kind | None, bool]:
    """Return the kind of archive, if it is one, and whether it is compressed as a whole."""
    with file.open() as opened:
        beginning = opened.read(BEGINNING)
    if beginning.startswith(ZIP_MAGIC):
        return "zip", False
    compressed = compression_of(beginning) is not None
    if compressed:
        beginning = InflatedFile(file).beginning()
    return ("tar" if is_tar(beginning) else None), compressed


@functools.lru_cache(maxsize=_OPENED)
def _open_again(path: str, _version: tuple[int, int], limits: Limits) -> Archive:
    """Open an archive; a file with another time or size is another one."""
    file = LocalFile(path)
    kind, compressed = _recognise(file)
    if kind is None:
        raise ImageError("expected an archive, got another file: check its path", code="archive_member_missing")
    return _open(file, kind, compressed, limits, ArchiveLimits())


def _open(file: StudyFile, kind: _Kind, compressed: bool, limits: Limits, archive_limits: ArchiveLimits) -> Archive:
    opened = file.open()
    if kind == "zip":
        return ZipArchive(opened, limits, archive_limits)
    if not compressed:
        return TarArchive(opened, limits, archive_limits)
    with opened:
        temporary, problem = decompress(opened, archive_limits)
    archive = TarArchive(temporary, limits, archive_limits)
    if problem is not None:
        archive.problems[""] = problem
    return archive


def _list(archive: Archive, file: StudyFile, failed: OnFailure) -> Iterator[StudyFile]:
    path = file.origin.path
    for name, error in archive.problems.items():
        failed(Member(archive, path, name).name, error)
    for name in archive.sizes:
        yield Member(archive, path, name)
