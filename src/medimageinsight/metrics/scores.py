"""Metrics as pure functions of arrays. Higher is better in all of them, and 1 is the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weights = NDArray[np.float32]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]


def roc_auc(scores: Floats, positives: Flags) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Args:
        scores: (N,) float, higher means more likely positive.
        positives: (N,) bool.

    Returns:
        The area, or NaN where there are no positives or no negatives.
    """
    return float(weighted_roc_auc(scores, positives, np.ones((1, len(scores)), dtype=np.float32))[0])


def weighted_roc_auc(scores: Floats, positives: Flags, weights: Weights) -> Floats:
    """:func:`roc_auc` under many weightings of the same pictures, from one sort.

    Args:
        scores: (N,) float.
        positives: (N,) bool.
        weights: (R, N) float, non-negative; how often each picture counts in each of R resamples.

    Returns:
        (R,) float64, NaN where a resample has no positives or no negatives.
    """
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    ordered = weights[:, order]  # (R, N)
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # where each run of equal scores begins
    weight_positive = np.add.reduceat(ordered * positives[order], ties, axis=1, dtype=np.float64)  # (R, runs)
    weight_negative = np.add.reduceat(ordered * ~positives[order], ties, axis=1, dtype=np.float64)
    below = np.cumsum(weight_negative, axis=1) - weight_negative / 2  # negatives below a run, its own ones by half
    concordant = (weight_positive * below).sum(axis=1)
    pairs = weight_positive.sum(axis=1) * weight_negative.sum(axis=1)
    return ratio(concordant, pairs)


def one_vs_rest_auc(scores: Floats, labels: Integers) -> Floats:
    """ROC AUC of each class against all others.

    Args:
        scores: (N, L) float, one column a class.
        labels: (N,) int, the true column of each picture.

    Returns:
        (L,) float64, NaN for a class without positives or without negatives.
    """
    return np.array([roc_auc(scores[:, label], labels == label) for label in range(scores.shape[1])])


def mean_one_vs_rest_auc(scores: Floats, labels: Integers) -> tuple[float, tuple[int, ...]]:
    """Mean of :func:`one_vs_rest_auc` over the classes that have one, and the classes left out of it.

    Returns:
        The mean (NaN when no class has an AUC), and the columns of the classes left out.
    """
    each = one_vs_rest_auc(scores, labels)
    return float(mean_of_known(each[None])[0]), tuple(np.flatnonzero(np.isnan(each)).tolist())


def mean_of_known(values: Floats) -> Floats:
    """Means of the rows of (R, L) values without their NaNs: (R,), NaN where a row has nothing else."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1, dtype=np.float64))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """(R,) quotients, NaN where the denominator is 0."""
    quotient: Floats = np.full(len(denominator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


def accuracy(predicted: Integers, labels: Integers) -> float:
    """Share of (N,) predictions that are the label."""
    return float(np.mean(predicted == labels))


def precision_at_k(relevant: Flags, k: int) -> Floats:
    """Share of the first ``k`` hits of each query that are relevant.

    Args:
        relevant: (Q, K) bool, whether each hit is relevant, best hit first; K at least ``k`` unless the gallery is
            smaller, in which case all of it counts.

    Returns:
        (Q,) float64, one value a query; their mean is the figure.
    """
    share: Floats = relevant[:, :k].mean(axis=1, dtype=np.float64)
    return share


def recall_at_k(relevant: Flags, k: int) -> Floats:
    """Whether the first ``k`` hits of each query hold a relevant one: Recall@K of cross-modal retrieval.

    With many relevant hits to a query (many-to-one), one of them is enough.

    Args:
        relevant: (Q, K) bool, as in :func:`precision_at_k`.

    Returns:
        (Q,) float64 of 0 and 1; their mean is the figure.
    """
    return np.asarray(relevant[:, :k].any(axis=1), dtype=np.float64)


def roc_corners(scores: Floats, positives: Flags) -> tuple[tuple[float, float], ...]:
    """The corners (false positive rate, sensitivity) of a ROC curve, from (0, 0) to (1, 1).

    Args:
        scores: (N,) float, higher means more likely positive.
        positives: (N,) bool, at least one of each kind.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties are one step, and so slanting
    found = np.concatenate([[0], np.cumsum(positives[order])[ends]]) / positives.sum()
    false_alarms = np.concatenate([[0], np.cumsum(~positives[order])[ends]]) / (~positives).sum()
    rises, runs = np.diff(found) > 0, np.diff(false_alarms) > 0
    # A point between two steps straight up, or two to the side, is no corner.
    inner = (rises[1:] & runs[:-1]) | (runs[1:] & rises[:-1])
    kept = np.concatenate([[True], inner, [True]])
    return tuple((float(x), float(y)) for x, y in zip(false_alarms[kept], found[kept], strict=True))
