"""A two-dimensional map of a store by principal component analysis."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from medimageinsight._deprecated import OldMethods
from medimageinsight.errors import InputError
from medimageinsight.search.levels import one_level
from medimageinsight.search.store_errors import store_empty

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.store import Store

MAX_SAMPLE = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection(OldMethods):
    """Principal components of a store's vectors.

        projection = Projection.of(store)
        projection.points                                                  # (N, 2), in the order of projection.ids
        projection.transform(model.embed_images(["new.dcm"]))              # (1, 2), on the same axes

    Attributes:
        ids: N stored images; of a large store a sample, always the same.
        points: (N, 2) float32.
        explained: Fraction of the sample's variance along each axis, 0 to 1.
        mean: (D,), the origin of the axes.
        axes: (2, D), unit vectors.
    """

    ids: tuple[str, ...]
    points: NDArray[np.float32]
    explained: tuple[float, float]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, store: Store, *, limit: int = 2000, where: str | None = None) -> Self:
        """Compute the map of at most `limit` images of a store, which is read once; memory holds the sample only.

        `where` is a filter; without a level in it the map has items of one level, see `one_level`.

        Raises:
            InputError: ``limit_invalid``, ``store_empty``.
            StoreError: The store cannot be read.
        """
        if not 1 <= limit <= MAX_SAMPLE:
            raise InputError(f"expected a limit from 1 to {MAX_SAMPLE:,}, got {limit}", code="limit_invalid")
        ids, vectors = _sample(store, limit, one_level(store, where))
        if not ids:
            raise store_empty()
        mean: NDArray[np.float32] = vectors.mean(axis=0, dtype=np.float32)
        centred = vectors - mean
        axes = _principal_axes(centred)
        points = centred @ axes.T
        total = float(np.square(centred, dtype=np.float64).sum())
        parts = np.square(points, dtype=np.float64).sum(axis=0) / total if total > 0 else np.zeros(2)
        explained = (float(parts[0]), float(parts[1]))
        return cls(ids=ids, points=points.astype(np.float32), explained=explained, mean=mean, axes=axes)

    def transform(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Return the positions of embeddings (M, D) of the store's model on the map, (M, 2) float32."""
        return ((np.asarray(vectors, dtype=np.float32) - self.mean) @ self.axes.T).astype(np.float32)


def _sample(store: Store, limit: int, where: str | None) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return the ids with the smallest digests, sorted, and their vectors (N, D): a reproducible random sample."""
    heap: list[tuple[int, str, NDArray[np.float32]]] = []  # the largest digest, negated, on top
    for ids, vectors in store.scan(where=where):
        for item_id, vector in zip(ids, vectors, strict=True):
            rank = -int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=8).digest())
            if len(heap) < limit:
                heapq.heappush(heap, (rank, item_id, vector.copy()))
            elif rank > heap[0][0]:
                heapq.heapreplace(heap, (rank, item_id, vector.copy()))
    heap.sort(key=lambda entry: entry[1])
    rows = [vector for _, _, vector in heap]
    stacked = np.stack(rows) if rows else np.empty((0, store.identity.embedding_dim), np.float32)
    return tuple(item_id for _, item_id, _ in heap), stacked


def _principal_axes(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the axes (2, D), oriented so that the largest component is positive and the map never flips."""
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes: NDArray[np.float64] = vectors[:, np.argsort(values)[::-1][:2]].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    oriented: NDArray[np.float32] = (axes * signs[:, np.newaxis]).astype(np.float32)
    return oriented
