"""Pairs of stored images that are nearly the same."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.values import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medimageinsight.search.store import Store


OUTER_BYTES = 256 << 20  # of embeddings that are held while all others pass by
INNER_ROWS = 4096
_MAX_LIMIT = 1_000_000
_Blocks: TypeAlias = "tuple[list[str], NDArray[np.float32], list[str], NDArray[np.float32]]"


def find_duplicates(
    store: Store, threshold: float, *, where: str | None, limit: int, approximate: bool = False
) -> list[Pair]:
    """`Store.duplicates`: in blocks, exactly or within cells.

    One matrix product compares thousands of vectors at once, so that going through all pairs is faster than asking an
    index for each vector until there are about a million. Memory does not grow with the store: a block of `OUTER_BYTES`
    is held and the store read once for each.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"expected a threshold above 0 and at most 1, got {threshold}", code="threshold_invalid")
    if not 1 <= limit <= _MAX_LIMIT:
        raise InputError(f"expected a limit from 1 to {_MAX_LIMIT:,}, got {limit}", code="limit_invalid")
    best: list[tuple[float, tuple[str, str]]] = []
    for ids, one, other_ids, other in (_in_cells if approximate else _all_with_all)(store, where):
        lowest = threshold if len(best) < limit else best[-1][0]  # what is below the worst kept is not looked at
        found = _pairs(ids, one, other_ids, other, lowest)
        best = _best(limit, best, found)
    return [Pair(a=a, b=b, score=score) for score, (a, b) in best]


def _best(
    limit: int, best: list[tuple[float, tuple[str, str]]], found: Iterator[tuple[float, tuple[str, str]]]
) -> list[tuple[float, tuple[str, str]]]:
    """The `limit` best of both, in order, each pair once: two vectors may meet in two cells."""
    scores = {pair: score for score, pair in found} | {pair: score for score, pair in best}
    return heapq.nsmallest(limit, ((score, pair) for pair, score in scores.items()), key=lambda one: (-one[0], one[1]))


def _all_with_all(store: Store, where: str | None) -> Iterator[_Blocks]:
    for outer_ids, outer in _outer_blocks(store, where):
        for inner_ids, inner in store.scan(where=where, rows=INNER_ROWS):
            yield outer_ids, outer, inner_ids, inner


def _in_cells(store: Store, where: str | None) -> Iterator[_Blocks]:
    for ids, rows in cells(store, where, rows=INNER_ROWS, held=_outer_rows(store)):
        for start in range(0, len(ids), INNER_ROWS):
            yield ids, rows, ids[start : start + INNER_ROWS], rows[start : start + INNER_ROWS]


def _outer_rows(store: Store) -> int:
    return max(INNER_ROWS, OUTER_BYTES // (4 * store.identity.embedding_dim))


def _outer_blocks(store: Store, where: str | None) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    rows = _outer_rows(store)
    ids: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    for block_ids, block in store.scan(where=where, rows=INNER_ROWS):
        ids.extend(block_ids)
        blocks.append(block)
        if len(ids) >= rows:
            yield ids, np.concatenate(blocks)
            ids, blocks = [], []
    if ids:
        yield ids, np.concatenate(blocks)


def _pairs(
    outer_ids: list[str],
    outer: NDArray[np.float32],
    inner_ids: list[str],
    inner: NDArray[np.float32],
    threshold: float,
) -> Iterator[tuple[float, tuple[str, str]]]:
    """Each pair once, whichever block its ends are in: the one whose outer id is the smaller."""
    for start in range(0, len(outer_ids), INNER_ROWS):
        part = slice(start, start + INNER_ROWS)
        scores = outer[part] @ inner.T  # (rows of the part, rows of the inner block)
        for row, column in np.argwhere(scores >= threshold):
            a, b = outer_ids[start + row], inner_ids[column]
            if a < b:
                yield min(float(scores[row, column]), 1.0), (a, b)


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
