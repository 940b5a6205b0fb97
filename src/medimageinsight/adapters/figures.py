"""Performance figures of an adapter on labelled images, with bootstrap intervals by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import Figure, bootstrap_figure, draw_bootstrap_weights, resampled_means
from medimageinsight.metrics.calibration import calibration_error
from medimageinsight.metrics.scores import mean_ignoring_nan, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class AdapterFigures:
    """Figures of one set of images; None where the set does not allow one.

    Attributes:
        scored_on: Name of the set, as ``test``. On ``validation`` the figures are slightly optimistic: the set chose
            the L2 penalty or the epoch to stop at, and the temperature.
        images: Number of images.
        accuracy: Share of images whose most probable label is correct; None for labels that do not exclude each other.
        balanced_accuracy: The mean over labels of that share; None likewise.
        mean_auc: The mean over labels of the ROC AUC of each label against the others.
        label_auc: By label, where it is defined.
        brier: The mean over images of the squared distance of probabilities and truth, summed over labels: 0 is best.
        calibration_error: Expected calibration error over ten bins of confidence, 0 is best; the mean over labels where
            they do not exclude each other. Without an interval: resampling raises it, as small sets do.
    """

    scored_on: str
    images: int
    accuracy: Figure | None
    balanced_accuracy: Figure | None
    mean_auc: Figure | None
    label_auc: dict[str, Figure]
    brier: Figure | None
    calibration_error: float


def score_probabilities(
    probabilities: Floats,
    truth: Flags,
    names: Sequence[str],
    outputs: Outputs,
    *,
    groups: Integers,
    scored_on: str,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> AdapterFigures:
    """Compute figures of probabilities (N, L) float64 of the labels ``names``, with truth (N, L) bool.

    ``groups`` (N,) are the patients of the images, which the bootstrap resamples; see `AdapterFigures.scored_on`.
    """
    count = len(truth)
    resampled = draw_bootstrap_weights(groups, np.zeros(count, dtype=np.int64), resamples=resamples, seed=seed)
    weights = np.concatenate([np.ones((1, count), dtype=np.float32), resampled])  # the first row is the set itself

    def with_interval(values: Floats, images: int) -> Figure | None:
        return bootstrap_figure(values[0], values[1:], count=images, confidence=confidence)

    columns = list(zip(probabilities.T, truth.T, strict=True))
    auc = np.stack([weighted_roc_auc(column, positives, weights) for column, positives in columns], axis=1)
    label_auc = {name: with_interval(auc[:, column], int(truth[:, column].sum())) for column, name in enumerate(names)}
    correct = probabilities.argmax(axis=1) == truth.argmax(axis=1)
    exclusive = outputs == "softmax"
    decisions = [(probabilities.max(axis=1), correct)] if exclusive else columns
    return AdapterFigures(
        scored_on=scored_on,
        images=count,
        accuracy=with_interval(resampled_means(correct, weights), count) if exclusive else None,
        balanced_accuracy=with_interval(_balanced_accuracy(correct, truth, weights), count) if exclusive else None,
        mean_auc=with_interval(mean_ignoring_nan(auc), count),
        label_auc={name: value for name, value in label_auc.items() if value is not None},
        brier=with_interval(resampled_means(((probabilities - truth) ** 2).sum(axis=1), weights), count),
        calibration_error=float(np.mean([calibration_error(*decision) for decision in decisions])),
    )


def _balanced_accuracy(correct: Flags, truth: Flags, weights: Weights) -> Floats:
    """Return the mean over labels of the share of correct images, (R,)."""
    shares = [resampled_means(correct[rows], weights[:, rows]) for rows in map(np.flatnonzero, truth.T)]
    return mean_ignoring_nan(np.stack(shares, axis=1))
