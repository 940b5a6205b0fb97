"""The index of a store in a folder: its parameters, and searches with and without it.

The index is an inverted file (IVF): k-means partitions the vectors, and a search probes the nearest partitions.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.search.lance_arrow import DISTANCE, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lancedb.table import Table
    from numpy.typing import NDArray

BITS = 4  # per number in the index: 1 misses neighbours among a few thousand vectors, 8 takes twice the space
QUANTIZED_MULTIPLE = 8  # LanceDB quantizes only vectors whose length is a multiple of it
TRAINING_ROWS = 256  # per partition; LanceDB warns of fewer
# More partitions are made by splitting large ones, which scatters neighbours: a tenth of 1,000 partitions of a million
# synthetic vectors had 96 % of the ten nearest, a tenth of 256 partitions all of them.
MAX_PARTITIONS = 256
# A search probes at least this number of partitions, and this fraction of them. Rows that match a filter may all be far
# from the query.
MIN_PROBES, PROBED_PART, PROBED_PART_WITH_FILTER = 20, 0.05, 0.6
# Candidates of the index that are compared again by their full vectors: a multiple of k, and at least a number.
CANDIDATES_PART, MIN_CANDIDATES = 2, 40
# The largest number and fraction of rows matching a filter that are read and compared here, without the index.
MAX_SCANNED_ROWS, MAX_SCANNED_PART = 500, 0.05
READ_ROWS = 4096  # in memory at a time


def build_indexes(table: Table, dim: int) -> None:
    """Index the vectors (N, `dim`) and every other column: without an index, a filter reads whole columns.

    RaBitQ (Gao and Long 2024) stores a rotated vector with a few bits per number. Where the length does not allow it,
    the index has the vectors as they are.
    """
    from lancedb.index import BTree, IvfFlat, IvfRq

    for name in table.schema.names:
        if name != "embedding":
            table.create_index(name, config=BTree())
    partitions = _count_partitions(table.count_rows())
    config = (
        IvfFlat(distance_type="cosine", num_partitions=partitions)
        if dim % QUANTIZED_MULTIPLE
        else IvfRq(distance_type="cosine", num_partitions=partitions, num_bits=BITS)
    )
    table.create_index("embedding", config=config)


def nearest_indexed(
    table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the nearest rows that the index finds, with their distances by the full vectors."""
    if condition is not None and table.count_rows(condition) <= MAX_SCANNED_ROWS:
        return _nearest_scanned(table, vector, k, condition, columns)
    factor = math.ceil(max(MIN_CANDIDATES, CANDIDATES_PART * k) / k)
    query = _query(table, vector, k, condition, columns).refine_factor(factor)
    partitions = _count_partitions(table.count_rows())
    part = PROBED_PART if condition is None else PROBED_PART_WITH_FILTER
    probes = max(MIN_PROBES, math.ceil(part * partitions))
    found = _rows(query.nprobes(probes).to_arrow())
    if len(found) < k and probes < partitions:  # given a range of probes, LanceDB would always take the larger number
        found = _rows(query.nprobes(MAX_PARTITIONS).to_arrow())
    return found


def nearest_exact(
    table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the nearest of all rows that match the condition."""
    if condition is not None:
        max_rows = max(MAX_SCANNED_ROWS, MAX_SCANNED_PART * table.count_rows())
        if table.count_rows(condition) <= max_rows:  # LanceDB would read every vector before it applies the condition
            return _nearest_scanned(table, vector, k, condition, columns)
    return _rows(_query(table, vector, k, condition, columns).bypass_vector_index().to_arrow())


def _query(table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]) -> Any:  # noqa: ANN401
    query: Any = table.search(vector, vector_column_name="embedding")
    query = query.distance_type("cosine").limit(k)
    query = query.select([*columns, DISTANCE])
    return query if condition is None else query.where(condition, prefilter=True)


def _nearest_scanned(
    table: Table, vector: NDArray[np.float32], k: int, condition: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the nearest rows that match a condition, compared here batch by batch."""
    best: list[dict[str, Any]] = []
    query = table.search().where(condition).select([*columns, "embedding"])
    for batch in query.to_batches(READ_ROWS):
        distances = 1 - to_numpy(batch["embedding"]) @ vector
        nearest = np.argsort(distances, kind="stable")[:k]
        rows = batch.drop_columns(["embedding"]).take(nearest).to_pylist()
        best += [{**row, DISTANCE: float(distances[index])} for row, index in zip(rows, nearest, strict=True)]
        best = heapq.nsmallest(k, best, key=lambda row: row[DISTANCE])
    return best


def _rows(table: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _count_partitions(count: int) -> int:
    """Return the number of partitions; at the square root, finding partitions costs as much as comparing within one."""
    return max(1, min(math.isqrt(count), count // TRAINING_ROWS, MAX_PARTITIONS))
