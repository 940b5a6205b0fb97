"""Fit groups to embeddings of validation images, and measure the scores of such images on held-out patients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import ImageGroups
from medimageinsight.errors import missing_extra
from medimageinsight.metrics.patients import number_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample

FOLDS = 5
MIN_GROUP = 8  # images; smaller groups are joined, and divided by k-means
MAX_NAMED, MAX_CLUSTERS = 48, 16  # groups of a table's columns, and of k-means
IMAGES_PER_CLUSTER = 20
MADE_CLUSTERS = 32
MAX_DIRECTIONS = 64  # with 96 means of 1,024 float32, 0.9 MB in base64
SHRINKAGE = 0.1  # of the mean variance, added to each direction
TAIL = 0.1  # of the scores
PRIOR_MEAN, PRIOR_SPREAD = 5, 20  # images that each group's mean and spread borrow from all groups


def group_images(samples: Sequence[Sample], vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the number of each image's group, (N,), from 0.

    A group has the same source, modality, anatomy and view; the same caption where the table has none of these. Groups
    of fewer than `MIN_GROUP` images, and all but the `MAX_NAMED` largest, are joined and divided by k-means.
    """
    keys: list[tuple[str, ...]] = [(sample.source, sample.modality, sample.anatomy, sample.view) for sample in samples]
    if not any(any(key) for key in keys):
        keys = [(sample.caption,) for sample in samples]
    names = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    numbers = np.array([names[key] for key in keys])
    counts = np.bincount(numbers)
    named = [index for index in np.argsort(-counts, kind="stable")[:MAX_NAMED] if counts[index] >= MIN_GROUP]
    rest = ~np.isin(numbers, named)
    if rest.any():
        clusters = min(MAX_CLUSTERS, max(1, int(rest.sum()) // IMAGES_PER_CLUSTER))
        numbers[rest] = len(names) + _cluster(vectors[rest], clusters)[0]
    return np.unique(numbers, return_inverse=True)[1].reshape(-1)


def fit_groups(
    vectors: NDArray[np.float32], groups: NDArray[np.intp], patients: Sequence[str], made: NDArray[np.float32]
) -> tuple[ImageGroups, NDArray[np.float64]]:
    """Return groups of embeddings (N, D), and the scores (N,) of the same images without their patients' images.

    Args:
        vectors: Embeddings of validation images.
        groups: The number of each image's group, (N,), as `group_images` returns them.
        patients: Each image's patient; '' is a patient of its own.
        made: Embeddings (M, D) of made images.
    """
    made_means = _cluster(made, MADE_CLUSTERS)[1]
    fold_of = _folds(patients, groups)
    parts = []
    for fold in np.unique(fold_of):
        held_out = fold_of == fold
        others = ~held_out if not held_out.all() else held_out  # a single patient has no others
        parts.append((held_out, _fit(vectors[others], groups[others], groups.max() + 1, made_means)))
    nearest, distances = np.empty(len(vectors), dtype=np.intp), np.empty(len(vectors))
    for held_out, fitted in parts:
        nearest[held_out], distances[held_out] = fitted.nearest(vectors[held_out])
    means, spreads = _log_moments(np.log(distances), nearest, groups.max() + 1)
    scores = np.empty(len(vectors))
    for held_out, fitted in parts:
        scores[held_out] = _with_moments(fitted, means, spreads).scores(vectors[held_out])
    return _with_moments(_fit(vectors, groups, groups.max() + 1, made_means), means, spreads), scores


def mark_threshold(scores: NDArray[np.float64], level: float) -> float:
    """Return the score above which a further image of the same kinds is with about this probability.

    The few highest scores alone would decide; so the highest tenth is taken to fall exponentially
    (peaks over threshold), and the threshold is that of this tail.
    """
    start = float(np.quantile(scores, 1 - TAIL))
    excess = scores[scores > start] - start
    mean = float(excess.mean()) if len(excess) else 0.0
    return start + mean * float(np.log(TAIL / level))


def _fit(
    vectors: NDArray[np.float32], groups: NDArray[np.intp], count: int, made_means: NDArray[np.float32]
) -> ImageGroups:
    """Return groups without moments; a group without images has the mean of all, where it is nearest to few."""
    rows = vectors.astype(np.float64)
    members = [groups == group for group in range(count)]
    means = np.stack([(rows[own] if own.any() else rows).mean(axis=0) for own in members])
    residuals = rows - means[groups]
    ascending, columns = np.linalg.eigh(residuals.T @ residuals / len(rows))
    variances, directions = np.maximum(ascending[::-1], 0), columns.T[::-1]
    used = max(1, min(MAX_DIRECTIONS, len(variances) - 1, int((variances > 1e-12).sum())))
    added = max(SHRINKAGE * variances.mean() + variances[used:].mean(), 1e-12)
    weights = variances[:used] / (variances[:used] + added)
    return ImageGroups(
        means=means.astype(np.float32),
        made_means=made_means,
        directions=directions[:used].astype(np.float32),
        weights=weights,
        log_means=np.zeros(count),
        log_spreads=np.ones(count),
    )


def _log_moments(
    logs: NDArray[np.float64], nearest: NDArray[np.intp], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (K,) of each group's logarithms (N,), drawn towards those of all groups."""
    sizes = np.bincount(nearest, minlength=count)
    sums = np.bincount(nearest, logs, minlength=count)
    means = (sums + PRIOR_MEAN * logs.mean()) / (sizes + PRIOR_MEAN)
    squares = (logs - means[nearest]) ** 2
    variances = (np.bincount(nearest, squares, minlength=count) + PRIOR_SPREAD * squares.mean()) / (
        sizes + PRIOR_SPREAD
    )
    return means, np.maximum(np.sqrt(variances), 1e-3)


def _with_moments(groups: ImageGroups, means: NDArray[np.float64], spreads: NDArray[np.float64]) -> ImageGroups:
    return replace(groups, log_means=means, log_spreads=spreads)


def _folds(patients: Sequence[str], groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the fold (N,) of each image; the images of a patient share it."""
    numbers = number_patients(patients, len(groups))
    _, owners = np.unique(numbers, return_inverse=True)
    folds: NDArray[np.intp] = np.random.default_rng(0).permutation(owners.max() + 1)[owners] % FOLDS
    return folds


def _cluster(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the cluster of each embedding, (N,), and the means of the clusters, (K, D)."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise missing_extra("evaluate", "measuring validation statistics") from None
    distinct = len(np.unique(vectors, axis=0))
    fitted = KMeans(max(1, min(count, distinct)), n_init=4, random_state=0).fit(vectors)
    return fitted.labels_, fitted.cluster_centers_.astype(np.float32)
