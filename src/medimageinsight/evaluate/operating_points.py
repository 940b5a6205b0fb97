"""Operating points: thresholds chosen on one split, and their sensitivity and specificity on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.metrics.thresholds import choose_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.label_scores import LabelScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags
    from medimageinsight.metrics.thresholds import Criterion


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """One threshold of one class against its source's other classes.

    Attributes:
        criterion: How the threshold was chosen, such as ``youden``.
        threshold: An image is positive if its score is at least the threshold.
        chosen_on: Number of positives among the images that the threshold was chosen on; few make it unreliable.
        false_positive_rate: On the scored images, for the ROC plot.
        sensitivity: Share of the scored positives that are found.
        specificity: Share of the scored negatives that are rejected.
        positive_predictive_value: Share of positives among the predicted positives, at the scored split's prevalence.
        negative_predictive_value: Share of negatives among the predicted negatives.
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
    """The operating points of one method on one source; ``left_out`` are classes without one, with the reason."""

    points: tuple[OperatingPoint, ...]
    left_out: tuple[tuple[str, str], ...]


def find_operating_points(
    labels: Sequence[LabelScores], criteria: Sequence[Criterion], resamples: Resamples
) -> OperatingPoints:
    """Choose a threshold for each class and criterion on the validation images, and score it on the scored images.

    Intervals treat the threshold as fixed.
    """
    points: list[OperatingPoint] = []
    left_out: list[tuple[str, str]] = []
    for scores in labels:
        truth = scores.positives
        if not truth.any() or truth.all():
            left_out.append((scores.label, "the scored split lacks positives or negatives"))
            continue
        for criterion in criteria:
            try:
                threshold = choose_threshold(scores.val_scores, scores.val_positives, criterion)
            except InputError:
                left_out.append((scores.label, "the split to choose on lacks positives or negatives"))
                break
            predicted = scores.scores >= threshold
            sensitivity = _share(scores, predicted, truth, resamples)
            specificity = _share(scores, ~predicted, ~truth, resamples)
            if sensitivity is None or specificity is None:
                continue
            points.append(
                OperatingPoint(
                    label=scores.label,
                    criterion=str(criterion),
                    threshold=threshold,
                    chosen_on=int(scores.val_positives.sum()),
                    false_positive_rate=1 - specificity.value,
                    sensitivity=sensitivity,
                    specificity=specificity,
                    positive_predictive_value=_share(scores, truth, predicted, resamples),
                    negative_predictive_value=_share(scores, ~truth, ~predicted, resamples),
                )
            )
    return OperatingPoints(points=tuple(points), left_out=tuple(left_out))


def _share(scores: LabelScores, flags: Flags, among: Flags, resamples: Resamples) -> Figure | None:
    """Return the share of flagged images among some; None for no images."""
    return resamples.share(flags[among], scores.rows[among])
