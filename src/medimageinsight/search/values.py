"""What goes into a store and what comes out of it."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One image in a store.

    Args:
        id: Unique in the store.
        embedding: (D,) float32, L2-normalised.
        path: Where the image is, as it was given; nothing is ever read from there.
        metadata: Column to value; a column that is absent has no value.
    """

    id: str
    embedding: NDArray[np.float32]
    path: str = ""
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One result of a search; `score` is the cosine similarity, -1 to 1. Columns without a value are left out."""

    id: str
    path: str
    score: float
    metadata: dict[str, Value]

    def to_dict(self) -> dict[str, Any]:
        """``{"id", "path", "score", "metadata"}``, the form of the JSON documents."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two stored images that are nearly the same; `a` comes before `b` in the order of ids."""

    a: str
    b: str
    score: float


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """A store's index; rows that were added after it was built are searched too, exactly."""

    kind: str
    indexed: int
    unindexed: int


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store says of itself."""

    kind: str
    count: int
    columns: dict[str, ColumnType]
    identity: Identity
    index: IndexInfo | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "identity": self.identity.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How much of the exact answer the index finds.

    Args:
        recall: Mean part of the exact `k` best that were found, 0 to 1.
        k: How many results each search was for.
        queries: How many stored vectors were searched for.
        index_ms: Median time of a search with the index, in milliseconds.
        exact_ms: The same without it.
    """

    recall: float
    k: int
    queries: int
    index_ms: float
    exact_ms: float
