"""Items as columns, checked: what a store writes in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.columns import check_text, typed_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.values import ColumnType, Item, Value

MAX_ID_BYTES = 2000  # an index of PostgreSQL takes no entry above a third of its page of 8 KiB
_UNIT = 1e-3  # how far from 1 the norm of an embedding may be: float16 is within it, an unnormalised vector is not


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Checked items.

    Args:
        ids: N of them, all different.
        paths: N.
        embeddings: (N, D) float32, L2-normalised.
        types: Metadata column to its type; columns without any value are left out.
        values: Metadata column to N values.
    """

    ids: list[str]
    paths: list[str]
    embeddings: NDArray[np.float32]
    types: dict[str, ColumnType]
    values: dict[str, list[Value]]

    def __len__(self) -> int:
        return len(self.ids)


def to_rows(items: Sequence[Item], dim: int) -> Rows:
    """The rows of items.

    Raises:
        InputError: ``ids_duplicate``, ``id_invalid``, ``path_invalid``, ``embedding_invalid``, or a code of
            `typed_columns`.
    """
    ids = check_ids([item.id for item in items])
    check_different(ids)
    types, values = typed_columns([item.metadata for item in items])
    return Rows(
        ids=ids,
        paths=[check_text("a path", item.path, "path_invalid") for item in items],
        embeddings=_stack(items, dim),
        types=types,
        values=values,
    )


def check_ids(ids: Iterable[object]) -> list[str]:
    """Ids that every store can hold.

    Raises:
        InputError: ``id_invalid``.
    """
    checked = []
    for one in ids:
        text = check_text("an id", one, "id_invalid")
        if not 1 <= len(text.encode()) <= MAX_ID_BYTES:
            raise InputError(
                f"expected an id of 1 to {MAX_ID_BYTES:,} bytes, got {len(text.encode()):,}: choose another",
                code="id_invalid",
            )
        checked.append(text)
    return checked


def check_different(ids: Sequence[str]) -> None:
    """Refuse ids of which one comes twice.

    Raises:
        InputError: ``ids_duplicate``.
    """
    first: dict[str, int] = {}
    doubled = [place for place, one in enumerate(ids) if first.setdefault(one, place) != place]
    if doubled:
        raise _duplicate_ids(doubled, "come twice among them")


def check_stored(ids: Sequence[str], stored: AbstractSet[str], *, wanted: bool) -> None:
    """Refuse ids that a store has already, or, when wanted, those that it has not.

    Raises:
        InputError: ``ids_duplicate`` or ``ids_unknown``.
    """
    wrong = [place for place, one in enumerate(ids) if (one in stored) != wanted]
    if not wrong:
        return
    raise unknown_ids(wrong) if wanted else _duplicate_ids(wrong, "the store has already")


def _duplicate_ids(places: Sequence[int], what: str) -> InputError:
    """The error for ids that come twice. An id may be a patient's, so only places are named."""
    return InputError(
        f"expected new ids, got {len(places)} that {what} (the first is item {places[0]}, counted from 0): "
        "leave them out, or update them",
        code="ids_duplicate",
    )


def unknown_ids(places: Sequence[int]) -> InputError:
    """The error for ids that no item has."""
    return InputError(
        f"expected ids of the store, got {len(places)} that it does not have "
        f"(the first is item {places[0]}, counted from 0): check their spelling",
        code="ids_unknown",
    )


def unit(vector: ArrayLike, dim: int) -> NDArray[np.float32]:
    """A vector to search for, (D,) float32, L2-normalised.

    Raises:
        InputError: ``embedding_invalid``: another shape, not finite, or zero.
    """
    try:
        array = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise _invalid(f"expected an embedding ({dim},), got {type(vector).__name__}: embed an image first") from None
    if array.shape != (dim,):
        raise _invalid(f"expected an embedding ({dim},), got shape {array.shape}: give one of the store's model")
    norm = np.linalg.norm(array)
    if not np.isfinite(norm) or norm == 0:
        raise _invalid("expected an embedding of finite numbers that are not all 0, got another: embed the image again")
    return (array / norm).astype(np.float32)


def _stack(items: Sequence[Item], dim: int) -> NDArray[np.float32]:
    for item in items:
        if np.shape(item.embedding) != (dim,):
            raise _invalid(f"expected embeddings ({dim},), got shape {np.shape(item.embedding)}: use the store's model")
    embeddings = np.array([item.embedding for item in items], dtype=np.float32).reshape(len(items), dim)
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if not (np.abs(norms - 1) <= _UNIT).all():  # not above: NaN is in no relation
        raise _invalid("expected L2-normalised embeddings of finite numbers, got others: divide each by its norm")
    return embeddings


def _invalid(message: str) -> InputError:
    return InputError(message, code="embedding_invalid")
