"""Files that studies are read from: on a disk, or members of an archive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.images import read_source
from medimageinsight.studies.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits
    from medimageinsight.studies.warnings import OnFailure

BEGINNING = 4096  # bytes that are enough to recognise a format


class StudyFile(ABC):
    """A file that may have images, wherever it is."""

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """The file, without a frame."""

    @property
    def name(self) -> str:
        """The name that results and errors state."""
        return str(self.origin)

    @property
    def local_path(self) -> Path | None:
        """The path for libraries that need one; None if the file is not on a disk."""
        return None

    @abstractmethod
    def open(self) -> BinaryIO:
        """Return a seekable file object, which the caller closes.

        Raises:
            InputError: It cannot be opened.
            OSError: As `pathlib.Path.open`.
        """

    @abstractmethod
    def read(self, limits: Limits) -> bytes:
        """Return the whole file.

        Raises:
            ImageError: It cannot be read, or has more than ``limits.max_bytes`` bytes.
        """

    def header(self, limits: Limits) -> Dataset | None:  # noqa: ARG002 - for files that have one
        """Return the DICOM dataset without pixels, where it is known without reading the file; else None.

        Raises:
            InputError: It should be known, and cannot be read.
        """
        return None


class FileCollection(ABC):
    """Files that are listed when they are needed, such as those of a study on a DICOMweb server."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the collection as a source."""

    @abstractmethod
    def files(self, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:
        """Yield the files; `failed` is called for those that cannot be listed.

        Raises:
            InputError: The collection cannot be read.
        """


@dataclass(frozen=True)
class LocalFile(StudyFile):
    """A file on a disk; `path` is as it was given."""

    path: str

    @property
    def origin(self) -> Origin:
        """The file, without a frame."""
        return Origin(path=self.path)

    @property
    def local_path(self) -> Path:
        """The path."""
        return Path(self.path)

    def open(self) -> BinaryIO:
        """Return the file, opened for reading."""
        return Path(self.path).open("rb")

    def read(self, limits: Limits) -> bytes:
        """Return the whole file."""
        return read_source(self.path, limits)


@dataclass(frozen=True, eq=False)
class MemoryFile(StudyFile):
    """A file in memory, such as an uploaded one; it has no path."""

    data: bytes

    @property
    def origin(self) -> Origin:
        """An empty path: an image of the file is only its fragment."""
        return Origin(path="")

    def open(self) -> BinaryIO:
        """Return a file object of the bytes."""
        return BytesIO(self.data)

    def read(self, limits: Limits) -> bytes:
        """Return the bytes."""
        return read_source(self.data, limits)
