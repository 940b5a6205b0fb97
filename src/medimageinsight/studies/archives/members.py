"""Members of an archive as files of a study."""

from __future__ import annotations

import io
import posixpath
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.errors import ImageError, InputError
from medimageinsight.files.archive_errors import ARCHIVE_ERRORS
from medimageinsight.studies.files import StudyFile
from medimageinsight.studies.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

    from medimageinsight.images import Limits


class Archive(ABC):
    """An opened archive: its members, read at any position and from any thread.

    Attributes:
        sizes: The uncompressed size of each member that can be read, by name, in the archive's order.
        problems: The errors of the other members, by name; the empty name is the archive's own.
    """

    sizes: Mapping[str, int]
    problems: dict[str, InputError]

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Return a seekable file object of a member; reading it may raise what its library raises."""


@dataclass(frozen=True, eq=False)
class Member(StudyFile):
    """A file in an archive."""

    archive: Archive
    path: str  # of the archive
    member: str

    @property
    def origin(self) -> Origin:
        """The archive and the member."""
        return Origin(path=self.path, member=self.member)

    def open(self) -> BinaryIO:
        """Return a file object of the contents."""
        with _member_errors():
            return io.BufferedReader(_CheckedReader(self.archive.open(self.member)))

    def read(self, limits: Limits) -> bytes:
        """Return the contents."""
        size = self.archive.sizes[self.member]
        limits.check_bytes(size)
        with self.open() as file:
            data = file.read(size + 1)
        if len(data) != size:
            raise _damaged()
        return data

    def sibling(self, name: str) -> StudyFile:
        """Return the member with this name in the same folder.

        Raises:
            InputError: ``volume_data_missing``.
        """
        member = posixpath.join(posixpath.dirname(self.member), name)
        if "/" in name or member not in self.archive.sizes:
            raise InputError(
                "expected the file that the header names next to it in the archive, got none: add it",
                code="volume_data_missing",
            )
        return Member(self.archive, self.path, member)


class _CheckedReader(io.RawIOBase):
    """Turns what libraries raise for damaged members into an `ImageError`."""

    name = ""  # pydicom asks a buffered reader for it

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with _member_errors():
            data = self._file.read(memoryview(buffer).nbytes)
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _member_errors():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


class _member_errors:  # noqa: N801 - a context manager without the cost of a generator: entered for every block read
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ARCHIVE_ERRORS) and not isinstance(error, InputError):
            raise _damaged() from None


def is_hidden(name: str) -> bool:
    """Return whether a member is hidden or a resource file of macOS, which are skipped."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def check_name(name: str) -> None:
    """Refuse the name of a member that leads out of its archive, or that no system has as a file's name.

    Nothing is extracted, but results may be written to files named after their images.

    Raises:
        InputError: ``archive_member_unsafe``.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or parts[0].endswith(":") or "\0" in name:
        raise InputError(
            "expected a member with a relative name, got one that leads out of the archive: make the archive again",
            code="archive_member_unsafe",
        )


def not_a_file() -> InputError:
    """Return the error of a link or device in an archive."""
    return InputError(
        "expected a file in the archive, got a link or device, which is not followed: archive the file itself",
        code="archive_member_not_a_file",
    )


def name_twice() -> InputError:
    """Return the error of a member that a later one of the same name replaces."""
    return InputError(
        "expected each name once in the archive, got it again: the last file of the name is used",
        code="archive_name_twice",
    )


def _damaged() -> ImageError:
    return ImageError(
        "expected a whole member of the archive, got a damaged one: copy or make the archive again",
        code="archive_member_damaged",
    )
