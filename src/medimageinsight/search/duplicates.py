"""Pairs of stored images that are nearly the same."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

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


def find_duplicates(store: Store, threshold: float, *, where: str | None, limit: int) -> list[Pair]:
    """`Store.duplicates`: exact, in blocks.

    One matrix product compares thousands of vectors at once, so that going through all pairs is faster than asking an
    index for each vector until there are about a million. Memory does not grow with the store: a block of `OUTER_BYTES`
    is held and the store read once for each.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"expected a threshold above 0 and at most 1, got {threshold}", code="threshold_invalid")
    if not 1 <= limit <= _MAX_LIMIT:
        raise InputError(f"expected a limit from 1 to {_MAX_LIMIT:,}, got {limit}", code="limit_invalid")
    best: list[tuple[float, tuple[str, str]]] = []
    for outer_ids, outer in _outer_blocks(store, where):
        for inner_ids, inner in store.scan(where=where, rows=INNER_ROWS):
            lowest = threshold if len(best) < limit else best[-1][0]  # what is below the worst kept is not looked at
            found = _pairs(outer_ids, outer, inner_ids, inner, lowest)
            best = heapq.nsmallest(limit, [*best, *found], key=lambda one: (-one[0], one[1]))
    return [Pair(a=a, b=b, score=score) for score, (a, b) in best]


def _outer_blocks(store: Store, where: str | None) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    rows = max(INNER_ROWS, OUTER_BYTES // (4 * store.identity.embedding_dim))
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
