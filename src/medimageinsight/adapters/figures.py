"""How good an adapter is on labelled images that it was not trained on, with bootstrap intervals by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import (
    Figure,
    draw_multiplicities,
    figure,
    resampled_means,
)
from medimageinsight.metrics.calibration import calibration_error
from medimageinsight.metrics.scores import mean_of_known, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class AdapterFigures:
    """Figures of one set of images; None where the set does not allow one.

    Attributes:
        scored_on: What the set was, as ``test``. On ``validation`` they flatter a little: it chose the L2 penalty or
            the moment to stop, and the temperature.
        images: How many.
        accuracy: Share whose most probable label is theirs; None for labels that do not exclude each other.
        balanced_accuracy: The mean over labels of that share; None likewise.
        mean_auc: The mean over labels of the ROC AUC of each against the others.
        label_auc: By label, those that have one.
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
    """Figures of (N, L) probabilities.

    Args:
        probabilities: (N, L) float64.
        truth: (N, L) bool.
        names: The L labels.
        outputs: Whether the labels exclude each other.
        groups: (N,) the patient of each image, who is resampled as a whole.
        scored_on: What the set is.
        resamples: Of the bootstrap.
        confidence: Of the intervals.
        seed: Of the bootstrap.
    """
    count = len(truth)
    resampled = draw_multiplicities(groups, np.zeros(count, dtype=np.int64), resamples=resamples, seed=seed)
    weights = np.concatenate([np.ones((1, count), dtype=np.float32), resampled])  # the first row is the set itself

    def named(values: Floats, images: int) -> Figure | None:
        return figure(values[0], values[1:], count=images, confidence=confidence)

    auc = np.stack(
        [weighted_roc_auc(probabilities[:, one], truth[:, one], weights) for one in range(len(names))], axis=1
    )
    label_auc = {name: named(auc[:, one], int(truth[:, one].sum())) for one, name in enumerate(names)}
    correct = probabilities.argmax(axis=1) == truth.argmax(axis=1)
    exclusive = outputs == "softmax"
    return AdapterFigures(
        scored_on=scored_on,
        images=count,
        accuracy=named(resampled_means(correct, weights), count) if exclusive else None,
        balanced_accuracy=named(_balanced(correct, truth, weights), count) if exclusive else None,
        mean_auc=named(mean_of_known(auc), count),
        label_auc={name: one for name, one in label_auc.items() if one is not None},
        brier=named(resampled_means(((probabilities - truth) ** 2).sum(axis=1), weights), count),
        calibration_error=_calibration(probabilities, truth, correct, exclusive=exclusive),
    )


def _balanced(correct: Flags, truth: Flags, weights: Weights) -> Floats:
    """(R,) the mean of each label's share of correct images."""
    shares = [resampled_means(correct[rows], weights[:, rows]) for rows in map(np.flatnonzero, truth.T)]
    return mean_of_known(np.stack(shares, axis=1))


def _calibration(probabilities: Floats, truth: Flags, correct: Flags, *, exclusive: bool) -> float:
    if exclusive:
        return calibration_error(probabilities.max(axis=1), correct)
    return float(np.mean([calibration_error(*pair) for pair in zip(probabilities.T, truth.T, strict=True)]))
