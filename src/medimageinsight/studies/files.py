"""Files that studies are read from: on a disk, or members of an archive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from medimageinsight.errors import ImageError
from medimageinsight.images import read_source
from medimageinsight.studies.origin import Origin
from medimageinsight.studies.volumes.errors import data_missing, data_outside

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

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

    @property
    def version(self) -> Hashable | None:
        """Changes when the content of the name does; None where that is not known."""
        return None

    def sibling(self, name: str) -> StudyFile:  # noqa: ARG002 - for files that have siblings
        """Return the file of a plain name in the same folder, which a header states to have its data.

        Raises:
            ImageError: ``volume_data_outside`` for the path of another folder, ``volume_data_missing``.
        """
        raise data_missing()

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

    @property
    def version(self) -> Hashable | None:
        """The time of the last change and the size."""
        try:
            status = Path(self.path).stat()
        except (OSError, ValueError):
            return None
        return status.st_mtime_ns, status.st_size

    def sibling(self, name: str) -> LocalFile:
        """Return a file in the same folder."""
        path = Path(self.path).parent / plain_name(name)
        if not path.is_file():
            raise data_missing()
        return LocalFile(str(path))

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


@dataclass(frozen=True, eq=False)
class DatasetFile(StudyFile):
    """A ``pydicom.Dataset`` in memory; it has no path and no bytes."""

    dataset: Dataset
    number: int  # among those of its source, from 1

    @property
    def origin(self) -> Origin:
        """An empty path: an image of the dataset is only its fragment."""
        return Origin(path="")

    @property
    def name(self) -> str:
        """The number, as there is no path."""
        return f"dataset {self.number}"

    def open(self) -> BinaryIO:
        """Raise an error: no bytes."""
        raise _no_bytes()

    def read(self, limits: Limits) -> bytes:  # noqa: ARG002 - as of every file
        """Raise an error: no bytes."""
        raise _no_bytes()

    def header(self, limits: Limits) -> Dataset:  # noqa: ARG002 - as of every file
        """Return the dataset."""
        return self.dataset


def _no_bytes() -> ImageError:
    return ImageError("expected a file, got a dataset in memory: save it first", code="image_bad_source")


def plain_name(name: str) -> str:
    """Return the name of a file that a header states, if it is one of the same folder (``volume_data_outside``)."""
    if name in ("", ".", "..") or any(mark in name for mark in "/\\:\0"):
        raise data_outside()
    return name
