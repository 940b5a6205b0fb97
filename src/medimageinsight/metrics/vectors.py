"""Embeddings as arrays: L2 normalization and cosine similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_STATISTICS = 7  # lengths of an image's vector that `studies.pool` joins


def cosine_similarity(a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
    """Return the cosine of every pair, (N, M) float32 in -1..1, of embeddings (N, D) and (M, D).

    If an argument is a single embedding (D,), its axis is dropped.

    Raises:
        InputError: Not embeddings, or of different lengths (``embeddings_bad_shape``).
    """
    left, right = normalize(a), normalize(b)
    if left.shape[-1] != right.shape[-1]:
        raise InputError(
            f"expected embeddings of one length, got {left.shape[-1]} and {right.shape[-1]}: "
            f"{_length_hint(left.shape[-1], right.shape[-1])}",
            code="embeddings_bad_shape",
        )
    return np.clip(left @ right.T, -1.0, 1.0).astype(np.float32)


def stack_embeddings(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return N >= 1 embeddings (D,) as (N, D).

    Raises:
        InputError: They have different lengths (``embeddings_bad_shape``).
    """
    if len(lengths := sorted({row.size for row in rows})) > 1:
        raise InputError(
            f"expected embeddings of one length, got {lengths[0]} and {lengths[-1]}: "
            f"{_length_hint(lengths[0], lengths[-1])}",
            code="embeddings_bad_shape",
        )
    return np.stack(rows)


def shortest_floats(values: NDArray[np.float32]) -> list[float]:
    """Return float32 values (N,) with the fewest digits that read back as the same values."""
    return [float(str(value)) for value in values]


def _length_hint(first: int | None, second: int) -> str:
    """Return what to do about vectors of two lengths; those of the pooling ``statistics`` are seven times as long."""
    if first is not None and max(first, second) == _STATISTICS * min(first, second):
        return "a study pooled with statistics has no image's vector: pool it with mean, median or max"
    return "give one row an image, all embedded by one model"


def normalize(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Return embeddings (D,) or (N, D) divided by their L2 norm, in float64; a zero vector stays zero.

    Raises:
        InputError: Not an array of numbers with one or two axes (``embeddings_bad_shape``).
    """
    try:
        array = np.asarray(embeddings, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"expected embeddings, an array (D,) or (N, D), got {type(embeddings).__name__}: "
            "embed images and texts first",
            code="embeddings_bad_shape",
        ) from None
    if array.ndim not in (1, 2):
        raise InputError(
            f"expected embeddings, an array (D,) or (N, D), got shape {array.shape}", code="embeddings_bad_shape"
        )
    norm = np.linalg.norm(array, axis=-1, keepdims=True)
    return array / np.where(norm > 0, norm, 1.0)


def unit_rows(vectors: ArrayLike, *, name: str = "vectors", dim: int | None = None) -> NDArray[np.float32]:
    """Return embeddings (N, D) as float32 of length 1; N may be 0, ``dim`` is the expected D, ``name`` is for errors.

    Raises:
        InputError: Not such an array (``embeddings_bad_shape``), or a value is NaN or infinite
            (``embeddings_not_finite``).
    """
    with np.errstate(invalid="ignore"):  # infinity divided by infinity is refused below
        rows = normalize(vectors)
    if rows.ndim != 2 or (dim is not None and rows.shape[1] != dim):
        raise InputError(
            f"expected {name} of shape (N, {'D' if dim is None else dim}), got {np.shape(rows)}: "
            f"{_length_hint(dim, rows.shape[-1])}",
            code="embeddings_bad_shape",
        )
    if not np.isfinite(rows).all():
        raise InputError(
            f"expected finite {name}, got NaN or infinity: leave out images that could not be embedded",
            code="embeddings_not_finite",
        )
    return rows.astype(np.float32)
