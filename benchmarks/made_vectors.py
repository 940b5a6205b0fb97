"""Vectors made to lie as embeddings of images do, in any number, the same ones each time.

A hierarchy of normal distributions: a direction that all share, as encoders have one (Ethayarajh 2019), 12 groups as
there are modalities, and 400 clusters of uneven sizes. Within a group, where a cluster lies and how its members vary
are in one subspace of few dimensions, at the same scale, so that clusters overlap and a vector's nearest neighbours are
often another cluster's. `describe` measures what came of it: how near neighbours are, how often they are of the same
cluster, and the local dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIM = 1024
GROUPS, CLUSTERS, SUBSPACE = 12, 400, 48
SHARED, GROUP, WITHIN, NOISE = 0.6, 0.55, 0.5, 0.12  # lengths of the parts of a vector, before it is normalised
APART = 0.6  # of clusters' centres within a group, in units of their members' spread
BLOCK = 10_000  # rows made at a time; each block has a seed of its own, so that any of them can be made alone
_NEIGHBOURS = 20  # of each query, to describe vectors by
_SHAPE_SEED, _ROWS_SEED, _QUERIES_SEED = 1, 2, 3


class Clusters:
    """The distribution that vectors are drawn from."""

    def __init__(self) -> None:
        generator = np.random.default_rng(_SHAPE_SEED)
        self._shared = _unit(generator.standard_normal(DIM)) * SHARED
        self._groups = _unit(generator.standard_normal((GROUPS, DIM))) * GROUP
        bases = [np.linalg.qr(generator.standard_normal((DIM, SUBSPACE)))[0].T for _ in range(GROUPS)]
        self._bases = np.stack(bases).astype(np.float32)  # (GROUPS, SUBSPACE, DIM), orthonormal rows
        self._group_of = generator.integers(GROUPS, size=CLUSTERS)
        spectrum = np.arange(1, SUBSPACE + 1) ** -0.5
        spectrum *= WITHIN / np.linalg.norm(spectrum)
        self._centres = APART * spectrum * generator.standard_normal((CLUSTERS, SUBSPACE))
        self._spreads = spectrum * generator.lognormal(0, 0.4, (CLUSTERS, SUBSPACE))
        sizes = np.arange(1, CLUSTERS + 1) ** -0.7
        self._chances = sizes / sizes.sum()

    def rows(self, block: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Block `block` of the stored vectors: (BLOCK, DIM) L2-normalised, and the cluster of each."""
        return self._draw(np.random.default_rng((_ROWS_SEED, block)), BLOCK)

    def queries(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Vectors of the same distribution that are not stored."""
        return self._draw(np.random.default_rng(_QUERIES_SEED), count)

    def clusters(self, block: int) -> NDArray[np.int64]:
        """The cluster of each row of block `block`."""
        return self._choose(np.random.default_rng((_ROWS_SEED, block)), BLOCK)

    def _choose(self, generator: np.random.Generator, count: int) -> NDArray[np.int64]:
        return generator.choice(CLUSTERS, size=count, p=self._chances)

    def _draw(self, generator: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        clusters = self._choose(generator, count)
        groups = self._group_of[clusters]
        places = self._centres[clusters] + self._spreads[clusters] * generator.standard_normal((count, SUBSPACE))
        made = generator.standard_normal((count, DIM), dtype=np.float32)
        made *= NOISE / DIM**0.5
        made += (self._shared + self._groups[groups]).astype(np.float32)
        for group in range(GROUPS):
            members = groups == group
            made[members] += places[members].astype(np.float32) @ self._bases[group]
        return _unit(made), clusters


def write_vectors(path: Path, count: int) -> None:
    """(count, DIM) float32 in a .npy file, a block at a time; a file that is there whole is left as it is."""
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
    """The cluster of each of the first `count` vectors."""
    clusters = Clusters()
    blocks = [clusters.clusters(block) for block in range(-(-count // BLOCK))]
    return np.concatenate(blocks)[:count]


def local_dimension(distances: NDArray[np.float32]) -> float:
    """Maximum-likelihood estimate from (N, k) distances to neighbours, nearest first (Levina and Bickel 2004)."""
    ratios = np.log(distances[:, -1:] / distances[:, :-1])
    return float(1 / np.mean(ratios))


def describe(
    vectors: NDArray[np.float32],
    clusters: NDArray[np.int64],
    queries: NDArray[np.float32],
    of_query: NDArray[np.int64],
) -> str:
    """How vectors lie to each other, from the 20 nearest of each query, for a reader to compare with their own."""
    best = np.full((len(queries), _NEIGHBOURS), -1, dtype=np.float32)
    rows = np.zeros((len(queries), _NEIGHBOURS), dtype=np.int64)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ vectors[start : start + BLOCK].T
        places = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        scores, places = np.concatenate([best, scores], axis=1), np.concatenate([rows, places], axis=1)
        top = np.argsort(-scores, axis=1)[:, :_NEIGHBOURS]
        best, rows = np.take_along_axis(scores, top, axis=1), np.take_along_axis(places, top, axis=1)
    same = float((clusters[rows[:, :10]] == of_query[:, None]).mean())
    dimension = local_dimension(np.sqrt(2 - 2 * best))
    return (
        f"Cosine to the nearest {np.median(best[:, 0]):.2f}, to the tenth {np.median(best[:, 9]):.2f} (medians); "
        f"{100 * same:.0f} % of the ten nearest are of the query's own cluster; local dimension {dimension:.0f}."
    )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
