"""Nearly equal pairs of large stores: vectors are compared with those alone that lie near the same stored vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medimageinsight.search.store import Store

CELLS_OF_A_ROW = 2  # so that two vectors on both sides of a border meet
_SEED = 0


def cells(store: Store, where: str | None, *, rows: int, held: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Ids and embeddings of each cell, the rows whose nearest or second nearest of √N stored vectors is the same.

    Memory is that of `held` embeddings, or of the largest cell, and of all ids; the store is read once for each `held`
    rows of all cells together.

    Args:
        store: Where from.
        where: A filter.
        rows: How many are read at a time.
        held: Rows that are held at a time.
    """
    centres = _choose_centres(store, where, rows)
    of_row: dict[str, NDArray[np.int32]] = {}
    for ids, embeddings in store.scan(where=where, rows=rows):
        of_row.update(zip(ids, _nearest_centres(embeddings, centres), strict=True))
    sizes = np.bincount(np.concatenate([*of_row.values(), np.zeros(0, np.int32)]), minlength=len(centres))
    for first, last in _spans(sizes, held):
        yield from _collect(store, where, rows, of_row, first, last)


def _choose_centres(store: Store, where: str | None, rows: int) -> NDArray[np.float32]:
    """(√N, D) of the store's vectors at random."""
    count = store.count(where=where)
    wanted = max(CELLS_OF_A_ROW, math.isqrt(count))
    chosen = np.random.default_rng(_SEED).random(count) < wanted / max(1, count)
    chosen[:CELLS_OF_A_ROW] = True  # never none
    found, start = [], 0
    for _, embeddings in store.scan(where=where, rows=rows):
        part = chosen[start : start + len(embeddings)]
        found.append(embeddings[: len(part)][part])
        start += len(embeddings)
    return np.concatenate([*found, np.zeros((0, store.identity.embedding_dim), np.float32)])


def _nearest_centres(embeddings: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int32]:
    """(n, CELLS_OF_A_ROW), fewer where there are fewer centres."""
    kept = min(CELLS_OF_A_ROW, len(centres))
    return np.argpartition(-(embeddings @ centres.T), kept - 1, axis=1)[:, :kept].astype(np.int32)


def _spans(sizes: NDArray[np.int64], held: int) -> Iterator[tuple[int, int]]:
    """Runs of cells, first and last, of at most `held` rows together or of one cell."""
    first, total = 0, 0
    for cell, size in enumerate(sizes):
        if total and total + size > held:
            yield first, cell - 1
            first, total = cell, 0
        total += int(size)
    if total:
        yield first, len(sizes) - 1


def _collect(
    store: Store, where: str | None, rows: int, of_row: dict[str, NDArray[np.int32]], first: int, last: int
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    ids: dict[int, list[str]] = {}
    embeddings: dict[int, list[NDArray[np.float32]]] = {}
    for block_ids, block in store.scan(where=where, rows=rows):
        for place, one in enumerate(block_ids):
            for cell in of_row.get(one, ()):  # none: it was written a moment ago
                if first <= cell <= last:
                    ids.setdefault(int(cell), []).append(one)
                    embeddings.setdefault(int(cell), []).append(block[place].copy())
    for cell in sorted(ids):
        yield ids.pop(cell), np.stack(embeddings.pop(cell))
