"""Records that stores take and return."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.search.identity import Identity
    from medimageinsight.studies import Origin

ColumnType: TypeAlias = Literal["string", "integer", "float", "boolean"]
Value: TypeAlias = str | int | float | bool | None
Metadata: TypeAlias = Mapping[str, Value]

FRAME_COLUMN = "frame_index"
"""Column of the metadata with the frame of a file that an item is, from 0; absent for the first."""

LEVEL_COLUMN = "level"
"""``image``, ``series`` or ``study``; absent for an image that was not indexed as part of a study."""

ORIGIN_COLUMN = "origin"
"""Location within the file ``path``, a `studies.Origin.fragment`; of a pooled vector that of the image most like it."""

STUDY_COLUMN, SERIES_COLUMN = "study", "series"
"""Which study and series an item is or belongs to: hashes keyed with the store's salt."""

STUDY_COLUMNS: dict[str, ColumnType] = {
    LEVEL_COLUMN: "string",
    ORIGIN_COLUMN: "string",
    STUDY_COLUMN: "string",
    SERIES_COLUMN: "string",
    "parts": "integer",  # of a pooled vector: number of images
    "selection": "string",
    "pooling": "string",
    "content": "string",  # a hash of the sizes and times of the files, which shows that they changed
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One image in a store, with a unique id; an absent column of the metadata has no value."""

    id: str
    embedding: NDArray[np.float32]  # (D,), L2-normalised
    path: str = ""  # as it was given; a store never reads it
    metadata: Metadata = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """The image: a frame, slice, member or region of its file; of a pooled vector the image most like it."""
        return _origin_of(self.path, self.metadata)

    @property
    def frame(self) -> int:
        """Index of the frame of the file, from 0."""
        return self.origin.frame or 0


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One search result; `score` is the cosine similarity, -1 to 1. Columns without a value are left out."""

    id: str
    path: str
    score: float
    metadata: dict[str, Value]

    @property
    def origin(self) -> Origin:
        """The image: a frame, slice, member or region of its file; of a pooled vector the image most like it."""
        return _origin_of(self.path, self.metadata)

    @property
    def frame(self) -> int:
        """Index of the frame of the file, from 0."""
        return self.origin.frame or 0

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"id", "path", "score", "metadata"}``, the form of the JSON documents."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two stored images that are nearly the same; id `a` sorts before id `b`."""

    a: str
    b: str
    score: float


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """State of a store's index; unindexed rows, added after it was built, are searched exactly."""

    kind: str
    indexed: int
    unindexed: int


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """Summary of a store."""

    kind: str
    count: int
    columns: dict[str, ColumnType]
    identity: Identity
    index: IndexInfo | None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {**asdict(self), "identity": self.identity.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Recall and latency of index searches, measured against exact searches."""

    recall: float  # mean fraction of the exact `k` best results that the index finds, 0 to 1
    k: int
    queries: int
    index_ms: float  # median of a search with the index, in milliseconds
    exact_ms: float


def _origin_of(path: str, metadata: Metadata) -> Origin:
    from medimageinsight.studies import Origin

    fragment = metadata.get(ORIGIN_COLUMN)
    if isinstance(fragment, str):
        with suppress(InputError):  # a column of the user's own with this name
            return Origin.from_fragment(path, fragment)
    frame = metadata.get(FRAME_COLUMN)
    return Origin(path=path, frame=frame if isinstance(frame, int) and frame > 0 else None)
