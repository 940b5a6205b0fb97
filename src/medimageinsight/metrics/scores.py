"""Metrics as pure functions of arrays; in all of them higher is better and 1 is best."""

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
    """Return the area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    Scores (N,) are higher for likely positives. NaN without positives or without negatives.
    """
    return float(weighted_roc_auc(scores, positives, np.ones((1, len(scores)), dtype=np.float32))[0])


def weighted_roc_auc(scores: Floats, positives: Flags, weights: Weights) -> Floats:
    """Return `roc_auc` under many weightings of the same images, from one sort.

    Args:
        scores: (N,) float.
        positives: (N,) bool.
        weights: (R, N) float, non-negative; how often each image counts in each of R resamples.

    Returns:
        (R,) float64, NaN where a resample has no positives or no negatives.
    """
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    ordered = weights[:, order]  # (R, N)
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # start of each run of equal scores
    weight_positive = np.add.reduceat(ordered * positives[order], ties, axis=1, dtype=np.float64)  # (R, runs)
    weight_negative = np.add.reduceat(ordered * ~positives[order], ties, axis=1, dtype=np.float64)
    below = np.cumsum(weight_negative, axis=1) - weight_negative / 2  # negatives below a run, plus half of its own
    concordant = (weight_positive * below).sum(axis=1)
    pairs = weight_positive.sum(axis=1) * weight_negative.sum(axis=1)
    return safe_ratio(concordant, pairs)


def one_vs_rest_auc(scores: Floats, labels: Integers) -> Floats:
    """Return the ROC AUC of each class of (N, L) scores against all others; ``labels`` are the true columns, (N,).

    Returns:
        (L,) float64, NaN for a class without positives or without negatives.
    """
    return np.array([roc_auc(scores[:, label], labels == label) for label in range(scores.shape[1])])


def mean_ignoring_nan(values: Floats) -> Floats:
    """Return the mean of each row of (R, L) values without its NaNs: (R,), NaN if a row has nothing else."""
    known = ~np.isnan(values)
    return safe_ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1, dtype=np.float64))


def safe_ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return (R,) quotients, NaN where the denominator is 0."""
    quotient: Floats = np.full(len(denominator), np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


def precision_at_k(relevant: Flags, k: int) -> Floats:
    """Return the share of the first ``k`` hits of each query that are relevant.

    ``relevant`` is (Q, K), best hit first; K is at least ``k`` unless the gallery is smaller, in which case all of it
    counts.

    Returns:
        (Q,) float64, one value per query; their mean is the metric.
    """
    share: Floats = relevant[:, :k].mean(axis=1, dtype=np.float64)
    return share


def recall_at_k(relevant: Flags, k: int) -> Floats:
    """Return whether the first ``k`` hits of each query have a relevant one: Recall@K of cross-modal retrieval.

    If a query has many relevant hits, one of them is enough. ``relevant`` is that of `precision_at_k`.

    Returns:
        (Q,) float64 of 0 and 1; their mean is the metric.
    """
    return np.asarray(relevant[:, :k].any(axis=1), dtype=np.float64)


def roc_corners(scores: Floats, positives: Flags) -> tuple[tuple[float, float], ...]:
    """Return the corners (false positive rate, sensitivity) of a ROC curve, from (0, 0) to (1, 1).

    Scores (N,) are higher for likely positives, and at least one image is positive and one negative.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties are one slanted step
    sensitivities = np.concatenate([[0], np.cumsum(positives[order])[ends]]) / positives.sum()
    false_positive_rates = np.concatenate([[0], np.cumsum(~positives[order])[ends]]) / (~positives).sum()
    rises, runs = np.diff(sensitivities) > 0, np.diff(false_positive_rates) > 0
    # A point between two vertical or two horizontal steps is not a corner.
    inner = (rises[1:] & runs[:-1]) | (runs[1:] & rises[:-1])
    corners = np.concatenate([[True], inner, [True]])
    return tuple(
        (float(x), float(y)) for x, y in zip(false_positive_rates[corners], sensitivities[corners], strict=True)
    )
