"""One vector of the vectors of a study's images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics import normalize

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Pooling: TypeAlias = Literal["mean", "median", "max", "std", "statistics"]

DEFAULT_POOLING: Pooling = "median"
"""By measurement, see docs/studies.md: single images of another kind do not move it."""

STATISTICS = ("mean", "median", "std", "min", "max", "q25", "q75")
"""The parts of ``statistics``, in their order."""

_BLOCK_NUMBERS = 1 << 22  # in memory as float64 at a time


def pool(embeddings: ArrayLike, pooling: Pooling = DEFAULT_POOLING) -> NDArray[np.float32]:
    """Return one vector of the embeddings (N, D) of N >= 1 images, L2-normalised float32.

    ``mean``, ``median``, ``max`` and ``std`` are taken of each number over the images and give (D,). ``statistics``
    joins the seven `STATISTICS`, each normalised, and gives (7 * D,): for outliers and classifiers, not for texts.
    ``std`` of a single image is zero, and so is its vector.

    Raises:
        InputError: ``pooling_unknown``, or not embeddings of at least one image (``embeddings_bad_shape``).
    """
    if pooling not in get_args(Pooling):
        raise InputError(
            f"expected the pooling to be {', '.join(get_args(Pooling))}, got another: choose one of them",
            code="pooling_unknown",
        )
    array = np.asarray(embeddings)
    if array.ndim != 2 or not len(array):
        raise InputError(
            f"expected the embeddings (N, D) of at least one image, got shape {array.shape}",
            code="embeddings_bad_shape",
        )
    if pooling == "statistics":
        joined = np.concatenate([normalize(_reduce(array, name)) for name in STATISTICS])
        return normalize(joined).astype(np.float32)
    return normalize(_reduce(array, pooling)).astype(np.float32)


def _reduce(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return a statistic of each column, a block of columns at a time: a slide may have 100,000 rows."""
    columns = max(1, _BLOCK_NUMBERS // len(array))
    blocks = (array[:, start : start + columns].astype(np.float64) for start in range(0, array.shape[1], columns))
    return np.concatenate([_reduce_block(block, name) for block in blocks])


def _reduce_block(block: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if name.startswith("q"):
        return np.quantile(block, int(name[1:]) / 100, axis=0)
    result: NDArray[np.float64] = getattr(np, name)(block, axis=0)
    return result
