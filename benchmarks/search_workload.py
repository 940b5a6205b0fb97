"""The workload of `search.py`: vectors, their metadata, and the filters of queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from generated_vectors import clusters_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

K = 10
SITES, LOTS = 10, 100
RARE_CLUSTERS = (50, 120, 200, 260, 330)  # 1 % of the rows
# The expression of each filter.
FILTERS: dict[str, str | None] = {
    "no filter": None,
    "10 %": "site = 'site3'",
    "1 %": "lot = 7",
    "1 % together": f"cluster in {RARE_CLUSTERS}",
}
_SEED = 4


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The files of one run.

    Args:
        work: The folder of all runs.
        count: Number of vectors.
        postgres_minutes: Time limit for building PostgreSQL's index.
    """

    work: Path
    count: int
    postgres_minutes: float

    @property
    def folder(self) -> Path:
        """The folder of the stores."""
        return self.work / str(self.count)

    @property
    def vectors(self) -> Path:
        """A .npy file (count, DIM) float32."""
        return self.work / f"vectors-{self.count}.npy"

    def read_vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read some of the vectors; the file is mapped only meanwhile, so its pages do not count as memory."""
        return np.array(np.load(self.vectors, mmap_mode="r")[start:stop])


def make_metadata(clusters: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Generate the metadata of each row: a random site and lot, and its cluster."""
    generator = np.random.default_rng(_SEED)
    return {
        "site": generator.integers(SITES, size=len(clusters)),
        "lot": generator.integers(LOTS, size=len(clusters)),
        "cluster": clusters,
    }


def filter_rows(name: str, columns: dict[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return which rows pass a filter."""
    match name:
        case "10 %":
            return columns["site"] == 3
        case "1 %":
            return columns["lot"] == 7
        case "1 % together":
            return np.isin(columns["cluster"], RARE_CLUSTERS)
    return np.ones(len(columns["lot"]), dtype=bool)


def filter_all(count: int) -> dict[str, NDArray[np.bool_] | None]:
    """Return the rows that pass each filter; None without a filter."""
    columns = make_metadata(clusters_of(count))
    return {name: None if text is None else filter_rows(name, columns) for name, text in FILTERS.items()}
