"""The index of a store in a folder: how it is made, and how much of it a search looks at."""

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

BITS = 4  # of a number, in the index: 1 misses neighbours of even a few thousand vectors, 8 is twice as large
QUANTIZED_MULTIPLE = 8  # LanceDB quantizes vectors of such a length alone
TRAINING_ROWS = 256  # for each cell; LanceDB warns of fewer
# More cells are made by splitting large ones, and neighbours are scattered: a tenth of 1,000 cells of a million made-up
# vectors had 96 % of the ten nearest, a tenth of 256 all of them.
MAX_PARTITIONS = 256
# A vector is compared with those of its own cell and its neighbours': of at least so many cells, and of this part. Rows
# that fit a filter may all lie far from it.
MIN_PROBES, PROBED_PART, PROBED_PART_WITH_FILTER = 20, 0.05, 0.6
# So many times the results, and at least so many, are compared again by their whole vectors.
CANDIDATES_PART, MIN_CANDIDATES = 2, 40
# Rows that are read one by one and compared here, where so few fit a filter.
FEW_ROWS, FEW_PART = 500, 0.05
READ_ROWS = 4096  # in memory at a time


def build_indexes(table: Table, dim: int) -> None:
    """Of the vectors, and of every other column: without one, a filter reads its columns as a whole."""
    from lancedb.index import BTree

    for name in table.schema.names:
        if name != "embedding":
            table.create_index(name, config=BTree())
    table.create_index("embedding", config=_vector_index(table.count_rows(), dim))


def nearest_indexed(
    table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows nearest to a vector that the index finds, with their distances by the whole vectors."""
    if condition is not None and table.count_rows(condition) <= FEW_ROWS:
        return _nearest_of_few(table, vector, k, condition, columns)
    factor = math.ceil(max(MIN_CANDIDATES, CANDIDATES_PART * k) / k)
    query = _query(table, vector, k, condition, columns).refine_factor(factor)
    every = _partitions(table.count_rows())
    part = PROBED_PART if condition is None else PROBED_PART_WITH_FILTER
    cells = max(MIN_PROBES, math.ceil(part * every))
    found = _rows(query.nprobes(cells).to_arrow())
    if len(found) < k and cells < every:  # given as a range, LanceDB would always take the larger number
        found = _rows(query.nprobes(MAX_PARTITIONS).to_arrow())
    return found


def nearest_exact(
    table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows nearest to a vector among all that fit the condition."""
    if condition is not None and table.count_rows(condition) <= max(FEW_ROWS, FEW_PART * table.count_rows()):
        # LanceDB would read every vector and then drop those that do not fit.
        return _nearest_of_few(table, vector, k, condition, columns)
    return _rows(_query(table, vector, k, condition, columns).bypass_vector_index().to_arrow())


def _query(table: Table, vector: NDArray[np.float32], k: int, condition: str | None, columns: Sequence[str]) -> Any:  # noqa: ANN401
    query: Any = table.search(vector, vector_column_name="embedding")
    query = query.distance_type("cosine").limit(k)
    query = query.select([*columns, DISTANCE])
    return query if condition is None else query.where(condition, prefilter=True)


def _nearest_of_few(
    table: Table, vector: NDArray[np.float32], k: int, condition: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    best: list[dict[str, Any]] = []
    query = table.search().where(condition).select([*columns, "embedding"])
    for batch in query.to_batches(READ_ROWS):
        distances = 1 - to_numpy(batch["embedding"]) @ vector
        nearest = np.argsort(distances, kind="stable")[:k]
        rows = batch.drop_columns(["embedding"]).take(nearest).to_pylist()
        best += [{**row, DISTANCE: float(distances[place])} for row, place in zip(rows, nearest, strict=True)]
        best = heapq.nsmallest(k, best, key=lambda row: row[DISTANCE])
    return best


def _rows(table: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _vector_index(count: int, dim: int) -> Any:  # noqa: ANN401 - lancedb's types are loose
    """An index of `count` vectors of `dim` numbers.

    RaBitQ (Gao and Long 2024): a rotated vector by a few bits a number, in cells by k-means. Where the length does not
    allow it, the vectors as they are.
    """
    from lancedb.index import IvfFlat, IvfRq

    cells = _partitions(count)
    if dim % QUANTIZED_MULTIPLE:
        return IvfFlat(distance_type="cosine", num_partitions=cells)
    return IvfRq(distance_type="cosine", num_partitions=cells, num_bits=BITS)


def _partitions(count: int) -> int:
    """Cells of the index: with the square root, finding the cells and comparing within one cost the same."""
    return max(1, min(math.isqrt(count), count // TRAINING_ROWS, MAX_PARTITIONS))
