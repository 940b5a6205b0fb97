"""How well a method classifies a source's images; intervals are by patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.confusion import count_answers
from medimageinsight.metrics.average_precision import class_precision_figures
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.intervals import OneVsRest, class_auc_figures, mean_figure
from medimageinsight.metrics.scores import mean_ignoring_nan, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.evaluate.confusion import ConfusionMatrix
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One method on one source; None where too little was scored.

    Attributes:
        mean_auc: Mean over the classes in ``label_auc`` of the one-vs-rest ROC AUC.
        label_auc: One-vs-rest ROC AUC by class, for classes that have one.
        accuracy: Share of images whose most probable class is theirs.
        balanced_accuracy: Mean over classes of that share.
        unseen: Classes of the scored split that the method cannot predict; their images are left out.
        too_few: Classes with fewer positives or negatives than an AUC needs; they are not in the mean.
        mean_average_precision: Mean of the classes' average precision, at the prevalence of the scored images.
        label_average_precision: By class, for classes that have an AUC.
        confusion: Images by class and answer.
    """

    images: int
    mean_auc: Figure | None
    label_auc: Mapping[str, Figure]
    accuracy: Figure | None
    balanced_accuracy: Figure | None
    unseen: tuple[str, ...]
    too_few: tuple[str, ...] = ()
    mean_average_precision: Figure | None = None
    label_average_precision: Mapping[str, Figure] = field(default_factory=dict)
    confusion: ConfusionMatrix | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of a method on the images of one source, or on some of them.

    Attributes:
        figure: From scores, members (n,) bool and resamples, the figure; None with too few images.
        resampled: From scores and (R, n) weights, the value in each resample, (R,).
    """

    figure: Callable[[MethodScores, Flags, Resamples], Figure | None]
    resampled: Callable[[MethodScores, Weights], Floats]


def score_classes(scores: MethodScores, resamples: Resamples) -> ClassFigures:
    """Return the figures of one method on one source."""
    everyone = np.ones(len(scores.rows), dtype=bool)
    aucs, precisions = (
        _one_vs_rest(measure, scores, everyone, resamples) for measure in (class_auc_figures, class_precision_figures)
    )
    shares = [
        resamples.share(is_correct(scores)[rows], scores.rows[rows])
        for rows in (np.flatnonzero(scores.truth == index) for index in range(len(scores.names)))
    ]
    named = list(zip(scores.names, aucs.classes, aucs.defined, strict=True))
    return ClassFigures(
        images=len(scores.rows),
        mean_auc=aucs.mean,
        label_auc={name: figure for name, figure, _ in named if figure is not None},
        accuracy=_accuracy(scores, everyone, resamples),
        balanced_accuracy=mean_figure(shares, count=len(scores.rows)),
        unseen=scores.unseen,
        too_few=tuple(name for name, figure, defined in named if figure is None and defined),
        mean_average_precision=precisions.mean,
        label_average_precision={
            name: figure for name, figure in zip(scores.names, precisions.classes, strict=True) if figure is not None
        },
        confusion=count_answers(scores.names, scores.truth, scores.probabilities.argmax(axis=1)),
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


def is_correct(scores: MethodScores) -> Flags:
    """Return whether the most probable class is the image's own: (n,) bool."""
    correct: Flags = scores.probabilities.argmax(axis=1) == scores.truth
    return correct


def has_class_auc(scores: MethodScores, resamples: Resamples) -> Flags:
    """Return which classes have enough positives and negatives for an AUC: (K,) bool."""
    aucs = _class_aucs(scores, np.ones(len(scores.rows), dtype=bool), resamples)
    return np.array([figure is not None for figure in aucs.classes], dtype=bool)


def _class_aucs(scores: MethodScores, members: Flags, resamples: Resamples) -> OneVsRest:
    return _one_vs_rest(class_auc_figures, scores, members, resamples)


def _one_vs_rest(
    measure: Callable[..., OneVsRest], scores: MethodScores, members: Flags, resamples: Resamples
) -> OneVsRest:
    return measure(
        scores.probabilities[members],
        scores.truth[members, None] == np.arange(len(scores.names)),
        resamples.groups_of(scores.rows[members]),
        confidence=resamples.confidence,
        min_positives=resamples.min_positives,
    )


def _mean_auc(scores: MethodScores, members: Flags, resamples: Resamples) -> Figure | None:
    return _class_aucs(scores, members, resamples).mean


def _accuracy(scores: MethodScores, members: Flags, resamples: Resamples) -> Figure | None:
    return resamples.share(is_correct(scores)[members], scores.rows[members])


def _resampled_mean_aucs(scores: MethodScores, weights: Weights) -> Floats:
    return mean_ignoring_nan(label_aucs(scores.probabilities, scores.truth, weights))


def _resampled_accuracies(scores: MethodScores, weights: Weights) -> Floats:
    return resampled_means(is_correct(scores), weights)


MEASURES = {
    "mean AUC": Measure(figure=_mean_auc, resampled=_resampled_mean_aucs),
    "accuracy": Measure(figure=_accuracy, resampled=_resampled_accuracies),
}
