"""How well a method classifies a source's images; all intervals come from the same resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.scores import mean_ignoring_nan, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One method on one source; None where too little was scored.

    Attributes:
        mean_auc: Mean over classes of the one-vs-rest ROC AUC.
        label_auc: One-vs-rest ROC AUC by class, for classes that have one.
        accuracy: Share of images whose most probable class is theirs.
        balanced_accuracy: Mean over classes of that share.
        unseen: Classes of the scored split that the method cannot predict; their images are left out.
    """

    images: int
    mean_auc: Figure | None
    label_auc: Mapping[str, Figure]
    accuracy: Figure | None
    balanced_accuracy: Figure | None
    unseen: tuple[str, ...]


def score_classes(scores: MethodScores, resamples: Resamples) -> ClassFigures:
    """Return the figures of one method on one source."""
    weights, count = resamples.weights_of(scores.rows), len(scores.rows)
    auc = label_aucs(scores.probabilities, scores.truth, weights)
    counts = np.bincount(scores.truth, minlength=len(scores.names))
    by_label = {name: resamples.figure(auc[:, index], int(counts[index])) for index, name in enumerate(scores.names)}
    return ClassFigures(
        images=count,
        mean_auc=resamples.figure(mean_ignoring_nan(auc), count),
        label_auc={name: figure for name, figure in by_label.items() if figure is not None},
        accuracy=resamples.figure(accuracies(scores, weights), count),
        balanced_accuracy=resamples.figure(balanced_accuracies(scores, weights), count),
        unseen=scores.unseen,
    )


def label_aucs(probabilities: Floats, truth: Integers, weights: Weights) -> Floats:
    """Return the (R, K) one-vs-rest ROC AUC of each class in each resample, NaN without positives or negatives."""
    return np.stack(
        [
            weighted_roc_auc(probabilities[:, column], truth == column, weights)
            for column in range(probabilities.shape[1])
        ],
        axis=1,
    )


def mean_aucs(scores: MethodScores, weights: Weights) -> Floats:
    """Return the mean of `label_aucs` over the classes that have one: (R,)."""
    return mean_ignoring_nan(label_aucs(scores.probabilities, scores.truth, weights))


def accuracies(scores: MethodScores, weights: Weights) -> Floats:
    """Return the share of correctly classified images in each resample: (R,)."""
    return resampled_means(is_correct(scores), weights)


def balanced_accuracies(scores: MethodScores, weights: Weights) -> Floats:
    """Return the mean over classes of the share of correctly classified images in each resample: (R,)."""
    correct = is_correct(scores)
    shares = [
        resampled_means(correct[rows], weights[:, rows])
        for rows in (np.flatnonzero(scores.truth == index) for index in range(len(scores.names)))
    ]
    return mean_ignoring_nan(np.stack(shares, axis=1))


def is_correct(scores: MethodScores) -> Flags:
    """Return whether the most probable class is the image's own: (n,) bool."""
    correct: Flags = scores.probabilities.argmax(axis=1) == scores.truth
    return correct


MEASURES: dict[str, Callable[[MethodScores, Weights], Floats]] = {"mean AUC": mean_aucs, "accuracy": accuracies}
