"""Reliability: whether what is said with a probability of 0.8 is right four times in five."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.classification import is_right
from medimageinsight.evaluate.methods import log_loss
from medimageinsight.metrics.bootstrap import Figure, resampled_means
from medimageinsight.metrics.calibration import fit_temperature
from medimageinsight.metrics.scores import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights

BINS = 10
_LEAST = 1e-12  # a vote of neighbours may be 0, which has no logarithm


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a reliability plot: pictures whose confidence lies in it."""

    low: float
    high: float
    count: int
    confidence: float
    right: Figure


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One method on one source.

    Attributes:
        images: Pictures scored.
        error: Expected calibration error over ten bins of confidence, 0 is best. Chance alone raises it in a small
            set, and resampling once more: the interval is the pivotal one, which takes that off again.
        brier: Mean squared distance of probabilities and truth, summed over classes: 0 is best, 2 the worst.
        log_loss: In nats; a class that was ruled out counts as a probability of one in a million.
        temperature: What the logits are divided by to make the method as sure as it is right; None without pictures to
            choose it on.
        error_scaled: ``error`` after that.
        bins: Those that hold a picture.
    """

    images: int
    error: Figure | None
    brier: Figure | None
    log_loss: Figure | None
    temperature: float | None
    error_scaled: Figure | None
    bins: tuple[Bin, ...]


def calibrate(scores: Scores, resamples: Resamples) -> Reliability:
    """The calibration of one method on one source's scored pictures."""
    weights, count = resamples.of(scores.rows), len(scores.rows)
    right = is_right(scores)
    confidence = scores.probabilities.max(axis=1)
    truth = np.eye(len(scores.names))[scores.truth]
    squares = ((scores.probabilities - truth) ** 2).sum(axis=1)
    temperature = _temperature(scores)
    scaled = None if temperature is None else rescale(scores.probabilities, temperature).max(axis=1)
    return Reliability(
        images=count,
        error=_pivotal(expected_errors(confidence, right, weights), resamples, count),
        brier=resamples.figure(resampled_means(squares, weights), count),
        log_loss=resamples.figure(resampled_means(log_loss(scores.probabilities, scores.truth), weights), count),
        temperature=temperature,
        error_scaled=None if scaled is None else _pivotal(expected_errors(scaled, right, weights), resamples, count),
        bins=tuple(_bins(confidence, right, scores.rows, resamples)),
    )


def pool(all_scores: Sequence[Scores], resamples: Resamples) -> tuple[Figure | None, tuple[Bin, ...]]:
    """Expected calibration error and bins of several sources' pictures together."""
    if not all_scores:
        return None, ()
    confidence = np.concatenate([one.probabilities.max(axis=1) for one in all_scores])
    right = np.concatenate([is_right(one) for one in all_scores])
    rows = np.concatenate([one.rows for one in all_scores])
    error = _pivotal(expected_errors(confidence, right, resamples.of(rows)), resamples, len(rows))
    return error, tuple(_bins(confidence, right, rows, resamples))


def expected_errors(confidence: Floats, right: Flags, weights: Weights, *, bins: int = BINS) -> Floats:
    """(R,) expected calibration error (arXiv 1706.04599, eq. 3) in each resample of (R, n) weights."""
    gaps = confidence - right
    member = np.eye(bins)[_places(confidence, bins)]  # (n, bins)
    wide = weights.astype(np.float64)
    each: Floats = np.abs((wide * gaps) @ member).sum(axis=1)
    return ratio(each, wide.sum(axis=1))


def rescale(probabilities: Floats, temperature: float) -> Floats:
    """(n, K) probabilities with their logits divided by a temperature."""
    powers = np.maximum(probabilities, _LEAST) ** (1 / temperature)
    scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def _temperature(scores: Scores) -> float | None:
    if not len(scores.val_truth):
        return None
    values = np.log(np.maximum(scores.val_probabilities, _LEAST))
    truth = np.eye(len(scores.names))[scores.val_truth]
    return fit_temperature(values, truth, np.ones((len(truth), 1)), "softmax")


def _pivotal(values: Floats, resamples: Resamples, count: int) -> Figure | None:
    """The value with the interval mirrored at it, within 0 to 1."""
    found = resamples.figure(values, count)
    if found is None:
        return None
    low, high = 2 * found.value - found.high, 2 * found.value - found.low
    return Figure(
        value=found.value, low=max(0.0, min(low, found.value)), high=min(1.0, max(high, found.value)), count=count
    )


def _bins(confidence: Floats, right: Flags, rows: Integers, resamples: Resamples) -> list[Bin]:
    places = _places(confidence, BINS)
    found = []
    for place in np.unique(places):
        inside = np.flatnonzero(places == place)
        share = resamples.figure(resampled_means(right[inside], resamples.of(rows[inside])), len(inside))
        if share is not None:
            found.append(
                Bin(
                    low=float(place / BINS),
                    high=float((place + 1) / BINS),
                    count=len(inside),
                    confidence=float(confidence[inside].mean()),
                    right=share,
                )
            )
    return found


def _places(confidence: Floats, bins: int) -> Integers:
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)
