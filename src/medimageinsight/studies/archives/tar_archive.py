"""TAR archives: the headers are read once, and each member where it lies.

A compressed archive has no index, and reading each member from the start would take quadratic time. It is therefore
decompressed once, in order and in chunks, into a temporary file without a name, which the system removes with the last
reference to it, also after a crash. Memory stays at a few MiB; the disk needs the uncompressed size, within limits.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.errors import InputError
from medimageinsight.studies.archives.inflate import inflate
from medimageinsight.studies.archives.members import Archive, check_name, is_hidden, name_twice, not_a_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from medimageinsight.images import Limits
    from medimageinsight.studies.archives.limits import ArchiveLimits

_MAX_HEADER = 1 << 20  # bytes of a header with long names and attributes, which tarfile reads at once


@dataclass(frozen=True)
class _Position:
    offset: int
    size: int


class TarArchive(Archive):
    """A TAR archive, decompressed."""

    def __init__(self, file: BinaryIO, limits: Limits, archive_limits: ArchiveLimits) -> None:
        weakref.finalize(self, file.close)
        self._file = file
        self._lock = threading.Lock()
        self._members: dict[str, _Position] = {}
        self.problems: dict[str, InputError] = {}
        end = file.seek(0, io.SEEK_END)
        file.seek(0)
        try:
            with tarfile.open(fileobj=_HeaderReader(file), mode="r:", errors="surrogateescape") as tar:
                self._add_all(tar, end, limits, archive_limits)
        except InputError:
            raise
        except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
            # The members before the damage can be used.
            self.problems[""] = InputError(
                "expected a whole TAR archive, got one that is cut off or damaged: copy it again",
                code="archive_damaged",
            )
        self.sizes = {name: position.size for name, position in self._members.items()}

    def open(self, name: str) -> BinaryIO:
        """Return a file object of a member."""
        position = self._members[name]
        return io.BufferedReader(_Region(self._file, self._lock, position))

    def _add_all(self, tar: tarfile.TarFile, end: int, limits: Limits, archive_limits: ArchiveLimits) -> None:
        count = 0
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would remember them all
            archive_limits.check_members(count := count + 1)
            name = _printable(info.name)
            if info.isdir() or is_hidden(name):
                continue
            try:
                check_name(name)
                if not info.isreg() or info.issparse():
                    raise not_a_file()
                limits.check_bytes(info.size)
                if info.offset_data + info.size > end:
                    raise tarfile.ReadError
                if name in self._members:
                    self.problems[name] = name_twice()
                self._members[name] = _Position(info.offset_data, info.size)
            except InputError as error:
                self.problems[name] = error


def decompress(file: BinaryIO, limits: ArchiveLimits) -> tuple[BinaryIO, InputError | None]:
    """Return a temporary file with the contents of a compressed archive, and the error at which they end early.

    Raises:
        InputError: ``archive_too_large``, ``archive_bomb``, ``archive_no_space``.
    """
    temporary = tempfile.TemporaryFile(prefix="mi2-")  # noqa: SIM115 - closed with the archive
    total, problem = 0, None
    try:
        for chunk in inflate(file):
            total += len(chunk)
            limits.check_size(total, file.tell())
            temporary.write(chunk)
        temporary.flush()
    except InputError as error:
        if error.code not in ("archive_truncated", "archive_damaged"):
            temporary.close()
            raise
        problem = error
    except OSError:
        temporary.close()
        raise InputError(
            "expected space for the decompressed archive in the folder for temporary files, got too little: free some "
            "or name another in TMPDIR",
            code="archive_no_space",
        ) from None
    return temporary, problem


def is_tar(beginning: bytes) -> bool:
    """Return whether the bytes begin with the header of a TAR archive's member."""
    try:
        tarfile.TarInfo.frombuf(beginning[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _printable(name: str) -> str:
    """Return a name whose bytes are not UTF-8 as Latin-1, in which every byte is a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


class _HeaderReader(io.RawIOBase):
    """Lets tarfile read headers only, and no header so long that it would fill the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Region(io.RawIOBase):
    """A part of a file that several threads read."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, position: _Position) -> None:
        self._file, self._lock, self._region, self._offset = file, lock, position, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._region.size - self._offset))
        with self._lock:
            self._file.seek(self._region.offset + self._offset)
            data = self._file.read(count)
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._region.size}[whence]
        self._offset = max(0, start + offset)
        return self._offset

    def tell(self) -> int:
        return self._offset
