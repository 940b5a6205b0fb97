"""Samples, one image each with its labels, and tables of samples: what every reader returns."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from medimageinsight.errors import DatasetError, ImageError
from medimageinsight.images import decode_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from medimageinsight.datasets.image_array import ArrayItem

DICOM_PREFIX = "dicom:"  # of a patient id from a DICOM file, which holds across sources


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """The part of a file that contains one image: a line of a TSV, a member of an uncompressed tar."""

    offset: int  # bytes
    size: int  # bytes, as stored
    encoding: Literal["raw", "base64"] = "raw"

    def locate(self, file_name: str) -> str:
        """Return where the image is, for messages."""
        return f"{file_name} at byte {self.offset}"

    def read(self, path: Path) -> bytes:
        """Return the image's bytes.

        Raises:
            ImageError: The file is missing, too short or not base64.
        """
        try:
            with path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError:
            raise ImageError(
                "expected the file that contains the image, it cannot be read: check the path", code="image_not_found"
            ) from None
        if len(data) < self.size:
            raise ImageError(
                f"expected {self.size:,} bytes of an image, got {len(data):,}, the file ends before it: copy it again",
                code="image_truncated",
            )
        return data if self.encoding == "raw" else decode_base64(data.decode("ascii", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of a table. Fields that the table does not have are empty strings.

    ``label`` is the class within ``source``: two sources may use one name for different things. ``finding`` is what a
    reader would report, empty for an image that was never read for findings. ``byte_range`` is None where the whole
    file at ``path`` is the image, else the image's part of it. ``images.open(sample.image_source())`` works for both.
    """

    path: Path
    caption: str
    modality: str = ""
    anatomy: str = ""
    view: str = ""
    label: str = ""
    finding: str = ""
    source: str = ""
    split: str = ""
    patient_id: str = ""
    id: str = ""
    byte_range: ByteRange | ArrayItem | None = None

    @property
    def location(self) -> Path:
        """The image's file and its offset in a file of many images, for messages."""
        if self.byte_range is None:
            return self.path
        return self.path.parent / self.byte_range.locate(self.path.name)

    def image_source(self) -> Path | bytes:
        """Return what ``images.open`` takes: the path, or the bytes of the byte range.

        Raises:
            ImageError: The file that contains the image is missing, too short or damaged.
        """
        return self.path if self.byte_range is None else self.byte_range.read(self.path)

    def lazy_source(self) -> Path | BinaryIO:
        """Return `image_source`, read when it is decoded: many samples of one file need no memory until then."""
        return self.path if self.byte_range is None else cast("BinaryIO", _LazyFile(self))

    if not TYPE_CHECKING:  # a type checker would accept every name

        def __getattr__(self, name: str) -> Callable[[], Path | bytes]:
            """Resolve the old name of `image_source`."""
            if name != "picture":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            warnings.warn(f"Sample.{name} is now Sample.image_source", DeprecationWarning, stacklevel=2)
            return self.image_source


class _LazyFile:
    """A file object that reads a sample's image when it is first read."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._file: io.BytesIO | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the image's file.

        Raises:
            ImageError: As `Sample.image_source`.
        """
        if self._file is None:
            source = self._sample.image_source()
            self._file = io.BytesIO(source if isinstance(source, bytes) else source.read_bytes())
        return self._file.read(size)


@dataclass(frozen=True, slots=True)
class Table:
    """Samples in the order of their files, one for each image, below the folder ``root`` or one of ``others``.

    ``separator`` is between several labels of an image; '' where an image has one label.
    """

    samples: tuple[Sample, ...]
    root: Path
    others: tuple[Path, ...] = ()
    separator: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def splits(self) -> dict[str, int]:
        """The number of samples of each split, in the order of first appearance."""
        return dict(Counter(sample.split for sample in self.samples))

    @property
    def ids(self) -> list[str]:
        """A name for each sample that does not depend on where the folders are: its id or `relative_location`."""
        return [sample.id or self.relative_location(sample) for sample in self.samples]

    def relative_location(self, sample: Sample) -> str:
        """Return `Sample.location` relative to ``root``, or starting with the name of another root."""
        location = sample.location
        if location.is_relative_to(self.root):
            return location.relative_to(self.root).as_posix()
        root = next((folder for folder in self.others if location.is_relative_to(folder)), location.parent)
        return f"{root.name}/{location.relative_to(root).as_posix()}"

    def of_split(self, split: str) -> Table:
        """Return the samples of one split, in order.

        Raises:
            DatasetError: The table has no such split (``dataset_split_unknown``).
        """
        samples = tuple(sample for sample in self.samples if sample.split == split)
        if not samples:
            known = ", ".join(name or "(empty)" for name in self.splits)
            raise DatasetError(
                f"expected one of the table's splits ({known}), got {split!r}: choose one of them",
                code="dataset_split_unknown",
            )
        return replace(self, samples=samples)


def relative_name(path: Path, root: Path) -> str:
    """Return a path relative to ``root``, or the name of a file elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def join_tables(tables: Iterable[Table]) -> Table:
    """Return all samples of several tables, in order, below the first table's root or else below their own.

    Raises:
        DatasetError: There is no table (``dataset_empty``).
    """
    listed = list(tables)
    if not listed:
        raise DatasetError("expected at least one table, got none: name one", code="dataset_empty")
    root = listed[0].root
    folders = (folder for table in listed for folder in (table.root, *table.others))
    others = dict.fromkeys(folder for folder in folders if not folder.is_relative_to(root))
    return Table(samples=tuple(sample for table in listed for sample in table), root=root, others=tuple(others))


def similar_labels(samples: Iterable[Sample]) -> list[str]:
    """Return a warning for each group of labels of a source that differ only by case or spaces."""
    spellings: dict[tuple[str, str], dict[str, None]] = {}
    for sample in samples:
        key = (sample.source, "".join(sample.label.split()).casefold())
        spellings.setdefault(key, {})[sample.label] = None
    return [
        f"{source + ': ' if source else ''}labels that differ only by case or spaces are different classes: "
        f"{', '.join(map(repr, labels))}"
        for (source, _), labels in spellings.items()
        if len(labels) > 1
    ]


def patient_ids(samples: Sequence[Sample]) -> list[str]:
    """Return one id for each sample, unique over all sources; '' where the patient is not known."""
    return [
        sample.patient_id
        if not sample.patient_id or sample.patient_id.startswith(DICOM_PREFIX)
        else f"{sample.source}/{sample.patient_id}"
        for sample in samples
    ]
