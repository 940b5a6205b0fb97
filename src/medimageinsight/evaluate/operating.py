"""Operating points: thresholds chosen on one split, and what they are worth on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.thresholds import choose_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats
    from medimageinsight.metrics.thresholds import Criterion


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """One threshold of one class against its source's others.

    Attributes:
        label: The class.
        criterion: How the threshold was chosen, as ``youden``.
        threshold: A picture is positive when its probability is at least that.
        chosen_on: Positives among the pictures it was chosen on, a small number of which says little.
        false_positive_rate: On the scored pictures, for the ROC plot.
        sensitivity: Share of the scored positives that are found.
        specificity: Share of the scored negatives that are left alone.
        positive_predictive_value: Share of positives among what is called so, at the scored split's prevalence.
        negative_predictive_value: Likewise of negatives.
    """

    label: str
    criterion: str
    threshold: float
    chosen_on: int
    false_positive_rate: float
    sensitivity: Figure
    specificity: Figure
    positive_predictive_value: Figure | None
    negative_predictive_value: Figure | None


@dataclass(frozen=True, kw_only=True)
class OperatingPoints:
    """Of one method on one source; ``left_out`` are classes without one, with the reason."""

    points: tuple[OperatingPoint, ...]
    left_out: tuple[tuple[str, str], ...]


def operating_points(scores: Scores, criteria: Sequence[Criterion], resamples: Resamples) -> OperatingPoints:
    """A threshold for each class and criterion, chosen on the pictures that choose and judged on the scored ones.

    The interval holds the threshold still: it is that of the figures of a threshold once chosen.
    """
    points: list[OperatingPoint] = []
    left_out: list[tuple[str, str]] = []
    for place, label in enumerate(scores.names):
        positives = scores.val_truth == place
        truth = scores.truth == place
        if not truth.any() or truth.all():
            left_out.append((label, "the scored split has not both sides"))
            continue
        for criterion in criteria:
            try:
                threshold = choose_threshold(scores.val_probabilities[:, place], positives, criterion)
            except InputError:
                left_out.append((label, "the split to choose on has not both sides"))
                break
            said = scores.probabilities[:, place] >= threshold
            point = _operate(scores, said, truth, resamples)
            if point is not None:
                points.append(
                    OperatingPoint(
                        label=label,
                        criterion=str(criterion),
                        threshold=threshold,
                        chosen_on=int(positives.sum()),
                        false_positive_rate=1 - point[1].value,
                        sensitivity=point[0],
                        specificity=point[1],
                        positive_predictive_value=point[2],
                        negative_predictive_value=point[3],
                    )
                )
    return OperatingPoints(points=tuple(points), left_out=tuple(left_out))


def _operate(
    scores: Scores, said: Flags, truth: Flags, resamples: Resamples
) -> tuple[Figure, Figure, Figure | None, Figure | None] | None:
    def share(right: Flags, among: Flags) -> Figure | None:
        kept = np.flatnonzero(among)
        if not len(kept):
            return None
        values: Floats = resampled_means(right[kept], resamples.of(scores.rows[kept]))
        return resamples.figure(values, len(kept))

    sensitivity, specificity = share(said, truth), share(~said, ~truth)
    if sensitivity is None or specificity is None:
        return None
    return sensitivity, specificity, share(truth, said), share(~truth, ~said)
