"""Records that stores take and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.search.identity import Identity

ColumnType: TypeAlias = Literal["string", "integer", "float", "boolean"]
Value: TypeAlias = str | int | float | bool | None
Metadata: TypeAlias = Mapping[str, Value]

FRAME_COLUMN = "frame_index"
"""Column of the metadata with the frame of a file that an item is, from 0; absent for the first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One image in a store, with a unique id; an absent column of the metadata has no value."""

    id: str
    embedding: NDArray[np.float32]  # (D,), L2-normalised
    path: str = ""  # as it was given; a store never reads it
    metadata: Metadata = field(default_factory=dict)

    @property
    def frame(self) -> int:
        """Index of the frame of the file, from 0."""
        return _frame_of(self.metadata)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One search result; `score` is the cosine similarity, -1 to 1. Columns without a value are left out."""

    id: str
    path: str
    score: float
    metadata: dict[str, Value]

    @property
    def frame(self) -> int:
        """Index of the frame of the file, from 0."""
        return _frame_of(self.metadata)

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


def _frame_of(metadata: Metadata) -> int:
    frame = metadata.get(FRAME_COLUMN)
    return frame if isinstance(frame, int) and frame > 0 else 0
