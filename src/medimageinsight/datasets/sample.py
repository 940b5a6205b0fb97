"""One picture with what is known of it, and tables of them: what every reader gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from medimageinsight.errors import DatasetError, ImageError
from medimageinsight.images import decode_base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The part of a file that holds one picture: a line of a TSV, a member of an uncompressed tar."""

    offset: int  # bytes
    size: int  # bytes, as written
    encoding: Literal["raw", "base64"] = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One picture of a table. What the table does not say is the empty string.

    ``label`` is the class within ``source``: two sources may use one name for different things. ``finding`` is what a
    reader would write, empty for a picture that was never read for one. ``piece`` is None where the file at ``path`` is
    the picture. Open it with ``images.open(sample.picture())``, which works for both.
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
    piece: Piece | None = None

    @property
    def place(self) -> Path:
        """Where the picture is, for a message: its file, and the position in a file of many."""
        return self.path if self.piece is None else self.path.with_name(f"{self.path.name} at byte {self.piece.offset}")

    def picture(self) -> Path | bytes:
        """What ``images.open`` takes: the file, or the bytes of its piece.

        Raises:
            ImageError: The file that holds the piece is gone, too short or not base64.
        """
        if self.piece is None:
            return self.path
        try:
            with self.path.open("rb") as file:
                file.seek(self.piece.offset)
                data = file.read(self.piece.size)
        except OSError:
            raise ImageError(
                "expected the file that holds the picture, it cannot be read: check the path", code="image_not_found"
            ) from None
        if len(data) < self.piece.size:
            raise ImageError(
                "expected a whole picture, got a file that ends before it: copy it again", code="image_truncated"
            )
        return data if self.piece.encoding == "raw" else decode_base64(data.decode("ascii", "replace"))


@dataclass(frozen=True, slots=True)
class Table:
    """Samples in the order of their files, one to a picture, below one folder ``root`` or one of ``others``."""

    samples: tuple[Sample, ...]
    root: Path
    others: tuple[Path, ...] = ()

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
        """A name for each sample, the same wherever the folders lie: its id, or as `place`."""
        return [sample.id or self.place(sample) for sample in self.samples]

    def place(self, sample: Sample) -> str:
        """Where a sample is, for a message: `Sample.place` below ``root``, or from the name of another root on."""
        place = sample.place
        if place.is_relative_to(self.root):
            return place.relative_to(self.root).as_posix()
        root = next((one for one in self.others if place.is_relative_to(one)), place.parent)
        return f"{root.name}/{place.relative_to(root).as_posix()}"

    def of_split(self, split: str) -> Table:
        """The samples of one split, in order.

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

    def as_split(self, split: str) -> Table:
        """The same samples, all of one split: for a file that is a split by itself."""
        return replace(self, samples=tuple(replace(sample, split=split) for sample in self.samples))


def join_tables(tables: Iterable[Table]) -> Table:
    """All samples of several tables, in order, named below the first one's root, or below their own if it is elsewhere.

    Raises:
        DatasetError: There is no table (``dataset_empty``).
    """
    listed = list(tables)
    if not listed:
        raise DatasetError("expected at least one table, got none: name one", code="dataset_empty")
    root = listed[0].root
    others = {one: None for table in listed for one in (table.root, *table.others) if not one.is_relative_to(root)}
    return Table(samples=tuple(sample for table in listed for sample in table), root=root, others=tuple(others))
