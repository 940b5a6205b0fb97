"""Pairs of stored images that are nearly the same.

Vectors are compared in blocks: every block with every block, or with ``approximate`` within clusters only. A cluster
has the vectors that share one of √N centres, which are stored vectors chosen at random; each vector belongs to the
clusters of its two nearest centres.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.levels import one_level
from medimageinsight.search.records import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from medimageinsight.search.store import Store

    Block: TypeAlias = tuple[list[str], NDArray[np.float32]]  # n ids and their embeddings (n, D)
    ScoredPair: TypeAlias = tuple[float, tuple[str, str]]

OUTER_BYTES = 256 << 20  # of embeddings held in memory while all other rows are read past them
INNER_ROWS = 4096
CLUSTERS_PER_ROW = 2  # so that near vectors on both sides of a cluster's border meet
_MAX_LIMIT = 1_000_000
_SEED = 0


def find_duplicates(
    store: Store,
    threshold: float = 0.99,
    *,
    where: str | None = None,
    limit: int = 1000,
    approximate: bool = False,
) -> list[Pair]:
    """Find pairs of stored images that are nearly the same, best first.

    One matrix product compares thousands of vectors at once, so that comparing all pairs is faster than one index
    search per vector for up to about a million vectors. Memory does not grow with the store: a block of `OUTER_BYTES`
    is held, and the store is read once per block.

    `threshold` is the smallest cosine similarity, above 0; `where` a filter that both images must match (without a
    level in it, only items of one level are compared, see `one_level`); `limit` the largest number of pairs, the best
    of all. With `approximate`, vectors are compared only within clusters, for stores
    where all pairs take too long: some pairs are missed, more of them at lower thresholds; no wrong pair is returned.

    Raises:
        InputError: ``filter_invalid``, ``threshold_invalid``, ``limit_invalid``.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"expected a threshold above 0 and at most 1, got {threshold}", code="threshold_invalid")
    if not 1 <= limit <= _MAX_LIMIT:
        raise InputError(f"expected a limit from 1 to {_MAX_LIMIT:,}, got {limit}", code="limit_invalid")
    where = one_level(store, where)
    best: list[ScoredPair] = []
    for outer, inner in (_blocks_of_clusters if approximate else _blocks_of_all)(store, where):
        min_score = threshold if len(best) < limit else best[-1][0]  # skip pairs below the worst stored one
        best = _merge_best(limit, best, _score_pairs(outer, inner, min_score))
    return [Pair(a=a, b=b, score=score) for score, (a, b) in best]


def _merge_best(limit: int, best: list[ScoredPair], found: Iterator[ScoredPair]) -> list[ScoredPair]:
    """Return the `limit` best of both in order, each pair once: two vectors may meet in two clusters."""
    scores = {pair: score for score, pair in found} | {pair: score for score, pair in best}
    return heapq.nsmallest(limit, ((score, pair) for pair, score in scores.items()), key=lambda row: (-row[0], row[1]))


def _score_pairs(outer: Block, inner: Block, threshold: float) -> Iterator[ScoredPair]:
    """Yield each pair once, in whichever blocks its ends are: where the outer id is the smaller one."""
    outer_ids, outer_rows = outer
    inner_ids, inner_rows = inner
    for start in range(0, len(outer_ids), INNER_ROWS):
        scores = outer_rows[start : start + INNER_ROWS] @ inner_rows.T  # (outer rows of the part, inner rows)
        for row, column in np.argwhere(scores >= threshold):
            a, b = outer_ids[start + row], inner_ids[column]
            if a < b:
                yield min(float(scores[row, column]), 1.0), (a, b)


def _blocks_of_all(store: Store, where: str | None) -> Iterator[tuple[Block, Block]]:
    """Yield every large block of the store with every small one."""
    for outer in _outer_blocks(store, where):
        for inner in store.scan(where=where, rows=INNER_ROWS):
            yield outer, inner


def _outer_blocks(store: Store, where: str | None) -> Iterator[Block]:
    ids: list[str] = []
    blocks: list[NDArray[np.float32]] = []
    for block_ids, block in store.scan(where=where, rows=INNER_ROWS):
        ids.extend(block_ids)
        blocks.append(block)
        if len(ids) >= _outer_rows(store):
            yield ids, np.concatenate(blocks)
            ids, blocks = [], []
    if ids:
        yield ids, np.concatenate(blocks)


def _outer_rows(store: Store) -> int:
    return max(INNER_ROWS, OUTER_BYTES // (4 * store.identity.embedding_dim))


def _blocks_of_clusters(store: Store, where: str | None) -> Iterator[tuple[Block, Block]]:
    """Yield every cluster with every small block of itself.

    Memory holds `_outer_rows` embeddings, or those of the largest cluster, and all ids; the store is read once for
    each `_outer_rows` rows of all clusters together.
    """
    centres = _choose_centres(store, where)
    count = min(CLUSTERS_PER_ROW, len(centres))
    assigned: dict[str, NDArray[np.int32]] = {}  # id to its clusters, (count,)
    for block_ids, block in store.scan(where=where, rows=INNER_ROWS):
        nearest = np.argpartition(-(block @ centres.T), count - 1, axis=1)[:, :count].astype(np.int32)
        assigned.update(zip(block_ids, nearest, strict=True))
    sizes = np.bincount(np.concatenate([*assigned.values(), np.zeros(0, np.int32)]), minlength=len(centres))
    for first, last in _cluster_ranges(sizes, _outer_rows(store)):
        for ids, rows in _read_clusters(store, where, assigned, first, last):
            for start in range(0, len(ids), INNER_ROWS):
                part = slice(start, start + INNER_ROWS)
                yield (ids, rows), (ids[part], rows[part])


def _choose_centres(store: Store, where: str | None) -> NDArray[np.float32]:
    """Return about √N of the store's vectors, chosen at random, (√N, D)."""
    count = store.count(where=where)
    wanted = max(CLUSTERS_PER_ROW, math.isqrt(count))
    chosen = np.random.default_rng(_SEED).random(count) < wanted / max(1, count)
    chosen[:CLUSTERS_PER_ROW] = True  # never none
    centres, start = [], 0
    for _, block in store.scan(where=where, rows=INNER_ROWS):
        mask = chosen[start : start + len(block)]
        centres.append(block[: len(mask)][mask])
        start += len(block)
    return np.concatenate([*centres, np.zeros((0, store.identity.embedding_dim), np.float32)])


def _cluster_ranges(sizes: NDArray[np.int64], max_rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of clusters, first and last, of at most `max_rows` rows together or of one cluster."""
    first, total = 0, 0
    for cluster, size in enumerate(sizes):
        if total and total + size > max_rows:
            yield first, cluster - 1
            first, total = cluster, 0
        total += int(size)
    if total:
        yield first, len(sizes) - 1


def _read_clusters(
    store: Store, where: str | None, assigned: dict[str, NDArray[np.int32]], first: int, last: int
) -> Iterator[Block]:
    """Yield each cluster of a range, in one pass over the store."""
    ids: dict[int, list[str]] = {}
    embeddings: dict[int, list[NDArray[np.float32]]] = {}
    for block_ids, block in store.scan(where=where, rows=INNER_ROWS):
        for item_id, embedding in zip(block_ids, block, strict=True):
            for cluster in assigned.get(item_id, ()):  # nothing for an item that was added a moment ago
                if first <= cluster <= last:
                    ids.setdefault(int(cluster), []).append(item_id)
                    embeddings.setdefault(int(cluster), []).append(embedding.copy())
    for cluster in sorted(ids):
        yield ids.pop(cluster), np.stack(embeddings.pop(cluster))
