"""How well probabilities tell classes apart, each figure with an interval from the same resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.scores import mean_of_known, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One method on one source; None where too little was scored.

    Attributes:
        images: Pictures scored.
        mean_auc: Mean over classes of the ROC AUC of each against the others.
        label_auc: By class, of those that have one.
        accuracy: Share whose most probable class is theirs.
        balanced_accuracy: The mean over classes of that share.
        unseen: Classes of the scored split that the method cannot name; their pictures are left out.
    """

    images: int
    mean_auc: Figure | None
    label_auc: Mapping[str, Figure]
    accuracy: Figure | None
    balanced_accuracy: Figure | None
    unseen: tuple[str, ...]


def score_classes(scores: Scores, resamples: Resamples) -> ClassFigures:
    """The figures of one method on one source."""
    weights, count = resamples.of(scores.rows), len(scores.rows)
    auc = label_aucs(scores.probabilities, scores.truth, weights)
    counts = np.bincount(scores.truth, minlength=len(scores.names))
    each = {name: resamples.figure(auc[:, place], int(counts[place])) for place, name in enumerate(scores.names)}
    return ClassFigures(
        images=count,
        mean_auc=resamples.figure(mean_of_known(auc), count),
        label_auc={name: one for name, one in each.items() if one is not None},
        accuracy=resamples.figure(accuracies(scores, weights), count),
        balanced_accuracy=resamples.figure(balanced_accuracies(scores, weights), count),
        unseen=scores.unseen,
    )


def label_aucs(probabilities: Floats, truth: Integers, weights: Weights) -> Floats:
    """(R, K) ROC AUC of each class in each resample, NaN where a resample has not both sides."""
    return np.stack(
        [weighted_roc_auc(probabilities[:, one], truth == one, weights) for one in range(probabilities.shape[1])],
        axis=1,
    )


def mean_aucs(scores: Scores, weights: Weights) -> Floats:
    """(R,) the mean of `label_aucs` over the classes that have one."""
    return mean_of_known(label_aucs(scores.probabilities, scores.truth, weights))


def accuracies(scores: Scores, weights: Weights) -> Floats:
    """(R,) shares of right pictures."""
    return resampled_means(is_right(scores), weights)


def balanced_accuracies(scores: Scores, weights: Weights) -> Floats:
    """(R,) means over classes of the share of right pictures."""
    right = is_right(scores)
    shares = [
        resampled_means(right[rows], weights[:, rows])
        for rows in (np.flatnonzero(scores.truth == one) for one in range(len(scores.names)))
    ]
    return mean_of_known(np.stack(shares, axis=1))


def is_right(scores: Scores) -> Flags:
    """(n,) whether the most probable class is the picture's."""
    right: Flags = scores.probabilities.argmax(axis=1) == scores.truth
    return right
