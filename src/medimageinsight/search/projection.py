"""A map of a store: its vectors on their two principal axes, and others placed beside them."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.search.store import Store

LARGEST_SAMPLE = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Principal components of a store's vectors.

        projection = Projection.of(store)
        projection.points                                                  # (N, 2), in the order of projection.ids
        projection.place(model.embed_images(["new.dcm"]))                  # (1, 2), on the same axes

    Attributes:
        ids: N stored images; of a large store a sample, the same each time.
        points: (N, 2) float32.
        explained: Which part of the sample's variance each axis has, 0 to 1.
        mean: (D,), where the axes cross.
        axes: (2, D), of length 1.
    """

    ids: tuple[str, ...]
    points: NDArray[np.float32]
    explained: tuple[float, float]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, store: Store, *, limit: int = 2000) -> Self:
        """The map of a store.

        Args:
            store: Read as a whole; memory holds the sample alone.
            limit: The most images, up to `LARGEST_SAMPLE`.

        Raises:
            InputError: ``limit_invalid``, ``store_empty``.
            StoreError: The store cannot be read.
        """
        if not 1 <= limit <= LARGEST_SAMPLE:
            raise InputError(f"expected a limit from 1 to {LARGEST_SAMPLE:,}, got {limit}", code="limit_invalid")
        ids, vectors = _sample(store, limit)
        if not ids:
            raise InputError("expected images in the store, it is empty: add some", code="store_empty")
        mean: NDArray[np.float32] = vectors.mean(axis=0, dtype=np.float32)
        centred = vectors - mean
        axes = _principal_axes(centred)
        points = centred @ axes.T
        total = float(np.square(centred, dtype=np.float64).sum())
        parts = np.square(points, dtype=np.float64).sum(axis=0) / total if total > 0 else np.zeros(2)
        return cls(
            ids=ids,
            points=points.astype(np.float32),
            explained=(float(parts[0]), float(parts[1])),
            mean=mean,
            axes=axes,
        )

    def place(self, vectors: ArrayLike) -> NDArray[np.float32]:
        """Where embeddings (M, D) of the store's model lie on the map, (M, 2) float32."""
        return ((np.asarray(vectors, dtype=np.float32) - self.mean) @ self.axes.T).astype(np.float32)


def _sample(store: Store, limit: int) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The ids with the smallest digests, and their vectors (N, D): chance that is the same each time."""
    kept: list[tuple[int, str, NDArray[np.float32]]] = []  # a heap with the largest digest, negated, on top
    for ids, vectors in store.scan():
        for one, vector in zip(ids, vectors, strict=True):
            rank = -int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest())
            if len(kept) < limit:
                heapq.heappush(kept, (rank, one, vector.copy()))
            elif rank > kept[0][0]:
                heapq.heapreplace(kept, (rank, one, vector.copy()))
    kept.sort(key=lambda one: one[1])
    rows = [vector for _, _, vector in kept]
    stacked = np.stack(rows) if rows else np.empty((0, store.identity.embedding_dim), np.float32)
    return tuple(one for _, one, _ in kept), stacked


def _principal_axes(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, D), each pointing where its largest component is positive, so that the map never flips."""
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes: NDArray[np.float64] = vectors[:, np.argsort(values)[::-1][:2]].T
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    oriented: NDArray[np.float32] = (axes * signs[:, np.newaxis]).astype(np.float32)
    return oriented
