"""Calibration of a method's probabilities: of predictions with a probability of 0.8, four in five should be right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.classification import is_correct
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.calibration import (
    BINS,
    apply_temperature,
    confidence_bins,
    fit_temperature,
    log_loss,
    log_probabilities,
    resampled_calibration_errors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a reliability plot: images whose confidence is in ``low`` to ``high``; ``right`` is their accuracy."""

    low: float
    high: float
    count: int
    confidence: float
    right: Figure


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One method on one source.

    Attributes:
        error: Expected calibration error over ten bins of confidence, 0 is best. Chance raises it in a small set, and
            resampling raises it again: the interval is the pivotal one, which corrects for that.
        brier: Mean squared distance of probabilities and truth, summed over classes: 0 is best, 2 is
            worst (Brier 1950, Mon Weather Rev 78:1; with two classes twice the form of one class).
        log_loss: In nats; probabilities below one in a million count as that.
        temperature: Divisor of the logits that calibrates the method; None without images to choose it on.
        error_scaled: ``error`` with that temperature.
        bins: Bins that contain an image.
    """

    images: int
    error: Figure | None
    brier: Figure | None
    log_loss: Figure | None
    temperature: float | None
    error_scaled: Figure | None
    bins: tuple[Bin, ...]


def score_reliability(scores: MethodScores, resamples: Resamples) -> Reliability:
    """Return the calibration of one method on one source's scored images."""
    weights, count = resamples.weights_of(scores.rows), len(scores.rows)
    correct = is_correct(scores)
    confidence = scores.probabilities.max(axis=1)
    truth = np.eye(len(scores.names))[scores.truth]
    squares = ((scores.probabilities - truth) ** 2).sum(axis=1)
    losses = log_loss(scores.probabilities, scores.truth)

    def error(values: Floats) -> Figure | None:
        return _pivotal_figure(resampled_calibration_errors(values, correct, weights), resamples, count)

    temperature = None
    if len(scores.val_truth):
        val_truth = np.eye(len(scores.names))[scores.val_truth]
        val_logits = log_probabilities(scores.val_probabilities)
        temperature = fit_temperature(val_logits, val_truth, np.ones((len(val_truth), 1)), "softmax")
    return Reliability(
        images=count,
        error=error(confidence),
        brier=resamples.figure(resampled_means(squares, weights), count),
        log_loss=resamples.figure(resampled_means(losses, weights), count),
        temperature=temperature,
        error_scaled=(
            None if temperature is None else error(apply_temperature(scores.probabilities, temperature).max(axis=1))
        ),
        bins=_bins(confidence, correct, scores.rows, resamples),
    )


def pooled_reliability(
    all_scores: Sequence[MethodScores], resamples: Resamples
) -> tuple[Figure | None, tuple[Bin, ...]]:
    """Return the expected calibration error and the bins of several sources' images together."""
    if not all_scores:
        return None, ()
    confidence = np.concatenate([scores.probabilities.max(axis=1) for scores in all_scores])
    correct = np.concatenate([is_correct(scores) for scores in all_scores])
    rows = np.concatenate([scores.rows for scores in all_scores])
    errors = resampled_calibration_errors(confidence, correct, resamples.weights_of(rows))
    return _pivotal_figure(errors, resamples, len(rows)), _bins(confidence, correct, rows, resamples)


def _pivotal_figure(values: Floats, resamples: Resamples, count: int) -> Figure | None:
    """Return the value with the interval mirrored at it, within 0 to 1."""
    figure = resamples.figure(values, count)
    if figure is None:
        return None
    low, high = 2 * figure.value - figure.high, 2 * figure.value - figure.low
    return replace(figure, low=max(0.0, min(low, figure.value)), high=min(1.0, max(high, figure.value)))


def _bins(confidence: Floats, correct: Flags, rows: Integers, resamples: Resamples) -> tuple[Bin, ...]:
    bin_of_image = confidence_bins(confidence)
    bins = []
    for index in np.unique(bin_of_image):
        members = np.flatnonzero(bin_of_image == index)
        share = resamples.share(correct[members], rows[members])
        if share is not None:
            bins.append(
                Bin(
                    low=float(index / BINS),
                    high=float((index + 1) / BINS),
                    count=len(members),
                    confidence=float(confidence[members].mean()),
                    right=share,
                )
            )
    return tuple(bins)
