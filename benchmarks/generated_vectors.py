"""Generated vectors distributed like embeddings of images, in any number, from a fixed seed.

A hierarchy of normal distributions: a common direction, as in real encoders (Ethayarajh 2019), 12 groups for
modalities, and 400 clusters of uneven sizes. Within a group, the centres of clusters and the variation of their members
are in one subspace of few dimensions and of the same scale, so that clusters overlap and the nearest neighbours of a
vector often belong to another cluster. `describe` measures the result: the distance of neighbours, how often they
belong to the same cluster, and the local dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIM = 1024
GROUPS, CLUSTERS, SUBSPACE = 12, 400, 48
SHARED, GROUP, WITHIN, NOISE = 0.6, 0.55, 0.5, 0.12  # lengths of a vector's components, before normalisation
CENTRE_SPREAD = 0.6  # of clusters' centres within a group, in units of their members' spread
BLOCK = 10_000  # rows generated together; each block has its own seed, so it can be generated alone
_NEIGHBOURS = 20  # of each query, to describe vectors by
_SHAPE_SEED, _ROWS_SEED, _QUERIES_SEED = 1, 2, 3


class Clusters:
    """The distribution of the vectors."""

    def __init__(self) -> None:
        generator = np.random.default_rng(_SHAPE_SEED)
        self._shared = _unit(generator.standard_normal(DIM)) * SHARED
        self._groups = _unit(generator.standard_normal((GROUPS, DIM))) * GROUP
        bases = [np.linalg.qr(generator.standard_normal((DIM, SUBSPACE)))[0].T for _ in range(GROUPS)]
        self._bases = np.stack(bases).astype(np.float32)  # (GROUPS, SUBSPACE, DIM), orthonormal rows
        self._group_of = generator.integers(GROUPS, size=CLUSTERS)
        spectrum = np.arange(1, SUBSPACE + 1) ** -0.5
        spectrum *= WITHIN / np.linalg.norm(spectrum)
        self._centres = CENTRE_SPREAD * spectrum * generator.standard_normal((CLUSTERS, SUBSPACE))
        self._spreads = spectrum * generator.lognormal(0, 0.4, (CLUSTERS, SUBSPACE))
        sizes = np.arange(1, CLUSTERS + 1) ** -0.7
        self._probabilities = sizes / sizes.sum()

    def rows(self, block: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Generate a block of the stored vectors: (BLOCK, DIM) L2-normalised, and the cluster of each."""
        return self._draw(np.random.default_rng((_ROWS_SEED, block)), BLOCK)

    def queries(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Generate vectors of the same distribution that are not stored."""
        return self._draw(np.random.default_rng(_QUERIES_SEED), count)

    def clusters(self, block: int) -> NDArray[np.int64]:
        """Return the cluster of each row of a block."""
        return self._choose(np.random.default_rng((_ROWS_SEED, block)), BLOCK)

    def _choose(self, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        return generator.choice(CLUSTERS, size=count, p=self._probabilities)

    def _draw(self, generator: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        clusters = self._choose(generator, count)
        groups = self._group_of[clusters]
        positions = self._centres[clusters] + self._spreads[clusters] * generator.standard_normal((count, SUBSPACE))
        vectors = generator.standard_normal((count, DIM), dtype=np.float32)
        vectors *= NOISE / DIM**0.5
        vectors += (self._shared + self._groups[groups]).astype(np.float32)
        for group in range(GROUPS):
            members = groups == group
            vectors[members] += positions[members].astype(np.float32) @ self._bases[group]
        return _unit(vectors), clusters


def write_vectors(path: Path, count: int) -> None:
    """Write (count, DIM) float32 to a .npy file, block by block, unless the file exists."""
    if path.exists():
        return
    unfinished = path.with_suffix(".part")
    clusters = Clusters()
    file = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=(count, DIM))
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        file[start:stop] = clusters.rows(start // BLOCK)[0][: stop - start]
    file.flush()
    del file
    unfinished.rename(path)


def clusters_of(count: int) -> NDArray[np.int64]:
    """Return the cluster of each of the first `count` vectors."""
    clusters = Clusters()
    blocks = [clusters.clusters(block) for block in range(-(-count // BLOCK))]
    return np.concatenate(blocks)[:count]


def local_dimension(distances: NDArray[np.float32]) -> float:
    """Estimate the dimension from (N, k) distances to neighbours, nearest first (Levina and Bickel 2004)."""
    ratios = np.log(distances[:, -1:] / distances[:, :-1])
    return float(1 / np.mean(ratios))


def describe(
    vectors: NDArray[np.float32],
    clusters: NDArray[np.int64],
    queries: NDArray[np.float32],
    query_clusters: NDArray[np.int64],
) -> str:
    """Describe the distances of vectors, from the 20 nearest of each query, to compare with a user's own vectors."""
    best = np.full((len(queries), _NEIGHBOURS), -1, dtype=np.float32)
    rows = np.zeros((len(queries), _NEIGHBOURS), dtype=np.int64)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ vectors[start : start + BLOCK].T
        block = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        scores, candidates = np.concatenate([best, scores], axis=1), np.concatenate([rows, block], axis=1)
        top = np.argsort(-scores, axis=1)[:, :_NEIGHBOURS]
        best, rows = np.take_along_axis(scores, top, axis=1), np.take_along_axis(candidates, top, axis=1)
    same = float((clusters[rows[:, :10]] == query_clusters[:, None]).mean())
    dimension = local_dimension(np.sqrt(2 - 2 * best))
    return (
        f"Cosine to the nearest {np.median(best[:, 0]):.2f}, to the tenth {np.median(best[:, 9]):.2f} (medians); "
        f"{100 * same:.0f} % of the ten nearest are of the query's own cluster; local dimension {dimension:.0f}."
    )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
