"""Checked items in columns, as a store writes them in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.columns import check_text, infer_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.records import ColumnType, Item, Value

MAX_ID_BYTES = 2000  # PostgreSQL's limit for an index entry is a third of its page of 8 KiB
_NORM_TOLERANCE = 1e-3  # of an embedding's norm of 1: accepts float16, refuses unnormalised vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """N checked items with different ids."""

    ids: list[str]
    paths: list[str]
    embeddings: NDArray[np.float32]  # (N, D), L2-normalised
    types: dict[str, ColumnType]  # by metadata column; those without any value are left out
    values: dict[str, list[Value]]  # metadata column to N values

    def __len__(self) -> int:
        return len(self.ids)


def to_rows(items: Sequence[Item], dim: int) -> Rows:
    """Check items and return them in columns.

    Raises:
        InputError: ``ids_duplicate``, ``id_invalid``, ``path_invalid``, ``embedding_invalid``, or a code of
            `infer_columns`.
    """
    ids = check_ids([item.id for item in items])
    check_unique(ids)
    types, values = infer_columns([item.metadata for item in items])
    return Rows(
        ids=ids,
        paths=[check_text("a path", item.path, "path_invalid") for item in items],
        embeddings=_stack(items, dim),
        types=types,
        values=values,
    )


def check_ids(ids: Iterable[object]) -> list[str]:
    """Return ids that every store can hold.

    Raises:
        InputError: ``id_invalid``.
    """
    checked = []
    for item_id in ids:
        text = check_text("an id", item_id, "id_invalid")
        if not 1 <= len(text.encode()) <= MAX_ID_BYTES:
            raise InputError(
                f"expected an id of 1 to {MAX_ID_BYTES:,} bytes, got {len(text.encode()):,}: choose another",
                code="id_invalid",
            )
        checked.append(text)
    return checked


def is_id(item_id: str) -> bool:
    """Return whether every store can hold an id."""
    try:
        check_ids([item_id])
    except InputError:
        return False
    return True


def check_unique(ids: Sequence[str]) -> None:
    """Refuse ids that contain duplicates.

    Raises:
        InputError: ``ids_duplicate``.
    """
    first: dict[str, int] = {}
    repeated = [index for index, item_id in enumerate(ids) if first.setdefault(item_id, index) != index]
    if repeated:
        raise _duplicate_ids(repeated, "come twice among them")


def check_new(ids: Sequence[str], stored: AbstractSet[str]) -> None:
    """Refuse ids that a store already has.

    Raises:
        InputError: ``ids_duplicate``.
    """
    if found := [index for index, item_id in enumerate(ids) if item_id in stored]:
        raise _duplicate_ids(found, "the store has already")


def check_known(ids: Sequence[str], stored: AbstractSet[str]) -> None:
    """Refuse ids that a store does not have.

    Raises:
        InputError: ``ids_unknown``.
    """
    if unknown := [index for index, item_id in enumerate(ids) if item_id not in stored]:
        raise InputError(
            f"expected ids of the store, got {len(unknown)} that it does not have "
            f"(the first is item {unknown[0]}, counted from 0): check their spelling",
            code="ids_unknown",
        )


def normalize_query(vector: ArrayLike, dim: int) -> NDArray[np.float32]:
    """Return a query vector as (D,) float32, L2-normalised.

    Raises:
        InputError: ``embedding_invalid``: wrong shape, not finite, or zero.
    """
    try:
        array = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise _invalid(f"expected an embedding ({dim},), got {type(vector).__name__}: embed an image first") from None
    if array.shape != (dim,):
        raise _invalid(f"expected an embedding ({dim},), got shape {array.shape}: give one of the store's model")
    norm = np.linalg.norm(array)
    if not np.isfinite(norm) or norm == 0:
        raise _invalid(
            f"expected an embedding of finite numbers that are not all 0, got the norm {norm:g}: embed the image again"
        )
    return (array / norm).astype(np.float32)


def score_of(distance: float) -> float:
    """Return the cosine similarity for a cosine distance."""
    return max(-1.0, min(1.0, 1.0 - distance))


def _stack(items: Sequence[Item], dim: int) -> NDArray[np.float32]:
    for item in items:
        if np.shape(item.embedding) != (dim,):
            raise _invalid(f"expected embeddings ({dim},), got shape {np.shape(item.embedding)}: use the store's model")
    embeddings = np.array([item.embedding for item in items], dtype=np.float32).reshape(len(items), dim)
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    is_wrong = ~(np.abs(norms - 1) <= _NORM_TOLERANCE)  # also of NaN
    if is_wrong.any():
        raise _invalid(
            "expected L2-normalised embeddings of finite numbers, "
            f"got the norm {norms[is_wrong][0]:g}: divide each by its norm"
        )
    return embeddings


def _duplicate_ids(indices: Sequence[int], reason: str) -> InputError:
    """Return the error for duplicate ids. An id may be a patient's, so only indices are reported."""
    return InputError(
        f"expected new ids, got {len(indices)} that {reason} (the first is item {indices[0]}, counted from 0): "
        "leave them out, or update them",
        code="ids_duplicate",
    )


def _invalid(message: str) -> InputError:
    return InputError(message, code="embedding_invalid")
