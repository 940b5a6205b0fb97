"""The figures of labels that do not exclude each other, by method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.operating_points import OperatingPoints, find_operating_points
from medimageinsight.metrics.average_precision import class_precision_figures
from medimageinsight.metrics.intervals import class_auc_figures
from medimageinsight.metrics.scores import roc_corners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.label_table import LabelTable
    from medimageinsight.evaluate.multilabel_methods import MultilabelScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.thresholds import Criterion


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Images with a label, without it, and ignored for it."""

    positives: int
    negatives: int
    ignored: int


@dataclass(frozen=True, kw_only=True)
class MultilabelMethod:
    """One method on all labels.

    Attributes:
        averaged: The labels of the means: those that every method scores and that have enough images.
        mean_auc: Macro mean of the ROC AUC over ``averaged``.
        mean_average_precision: Macro mean of the average precision over ``averaged``.
        label_auc: By label, for those with enough positives and negatives.
        label_average_precision: The same; it is that of the scored images' share of positives.
        too_few: Labels with fewer patients with it, or without it, than a figure needs.
        operating: Thresholds; no points without images to choose them on.
        roc: By label, the corners (false positive rate, sensitivity) of its ROC curve.
    """

    averaged: tuple[str, ...]
    mean_auc: Figure | None
    mean_average_precision: Figure | None
    label_auc: Mapping[str, Figure]
    label_average_precision: Mapping[str, Figure]
    too_few: tuple[str, ...]
    operating: OperatingPoints
    roc: Mapping[str, tuple[tuple[float, float], ...]]


def count_labels(labels: LabelTable) -> dict[str, LabelCounts]:
    """Return how many images have, have not, and are ignored for each label."""
    return {
        name: LabelCounts(
            positives=int(labels.positives[:, index].sum()),
            negatives=int((labels.known & ~labels.positives)[:, index].sum()),
            ignored=int((~labels.known)[:, index].sum()),
        )
        for index, name in enumerate(labels.names)
    }


def score_labels(
    scored: MultilabelScores, common: Sequence[str], criteria: Sequence[Criterion], resamples: Resamples
) -> MultilabelMethod:
    """Return the figures of one method; the means are over the ``common`` labels that have a figure."""
    shape = (len(resamples.rows), len(scored.labels))
    scores, truth, known = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for column, label in enumerate(scored.labels):
        rows = resamples.indices_of(label.rows)
        scores[rows, column], truth[rows, column], known[rows, column] = label.scores, label.positives, True
    names = [label.label for label in scored.labels]
    columns = [names.index(label) for label in common]
    of_label, of_mean = (
        [
            measure(
                scores[:, chosen],
                truth[:, chosen],
                resamples.groups,
                known=known[:, chosen],
                confidence=resamples.confidence,
                min_positives=resamples.min_positives,
            )
            for measure in (class_auc_figures, class_precision_figures)
        ]
        for chosen in (range(len(names)), columns)
    )
    aucs, precisions = (
        {name: figure for name, figure in zip(names, found.classes, strict=True) if figure is not None}
        for found in of_label
    )
    return MultilabelMethod(
        averaged=tuple(label for label in common if label in aucs),
        mean_auc=of_mean[0].mean,
        mean_average_precision=of_mean[1].mean,
        label_auc=aucs,
        label_average_precision=precisions,
        too_few=tuple(name for name in names if name not in aucs),
        operating=find_operating_points(scored.labels, criteria, resamples)
        if criteria
        else OperatingPoints(points=(), left_out=()),
        roc={label.label: roc_corners(label.scores, label.positives) for label in scored.labels if label.label in aucs},
    )
