"""Average precision, the area under the precision-recall curve in steps, with an interval that covers.

The number of positives decides how far it can be trusted, and its value depends on their share: it is compared with the
share of positives (chance), and only between sets with the same share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import Figure
from medimageinsight.metrics.intervals import MIN_POSITIVES, logistic, one_vs_rest, student_quantile, wilson_limits

if TYPE_CHECKING:
    from medimageinsight.metrics.intervals import OneVsRest
    from medimageinsight.metrics.scores import Flags, Floats, Integers


def average_precision(scores: Floats, positives: Flags) -> float:
    """Return the mean over positives of the precision at their score, NaN without positives; ties are one step.

    Scores (N,) are higher for likely positives. It is the sum of precision times gain in recall, not interpolated.
    """
    if not positives.any():
        return float("nan")
    return _value_and_influence(scores, positives)[0]


def average_precision_figure(
    scores: Floats, positives: Flags, groups: Integers, *, confidence: float, min_positives: int = MIN_POSITIVES
) -> Figure | None:
    """Return the average precision of (N,) scores; None with fewer than ``min_positives`` patients of either kind.

    The interval is the wider of two: the infinitesimal jackknife's (Efron 1982) on the logit scale, clustered by
    patient, with Student's t for few positives; and Wilson's score interval of as many flags as there are independent
    positives, which has a width at 1 (the binomial form of Boyd, Eng and Page 2013, ECML PKDD). ``count`` is the number
    of positives.
    """
    patients = np.unique(groups, return_inverse=True)[1]
    found = precision_with_influence(scores, positives, patients, confidence, min_positives)
    return None if found is None else found[0]


def class_precision_figures(
    scores: Floats,
    truth: Flags,
    groups: Integers,
    *,
    confidence: float,
    known: Flags | None = None,
    min_positives: int = MIN_POSITIVES,
) -> OneVsRest:
    """Return `average_precision_figure` of each class, as `class_auc_figures` does."""
    return one_vs_rest(precision_with_influence, scores, truth, groups, known, confidence, min_positives)


def precision_with_influence(
    scores: Floats, positives: Flags, patients: Integers, confidence: float, min_positives: int
) -> tuple[Figure, Floats] | None:
    """Return the average precision and each patient's influence on it, whose squares sum to the variance.

    ``patients`` are (N,) whole numbers from 0; None with fewer than ``min_positives`` of them of either kind.
    """
    counts = [len(np.unique(patients[flags])) for flags in (positives, ~positives)]
    if min(counts) < max(min_positives, 1):
        return None
    value, of_image = _value_and_influence(scores, positives)
    parts = [
        np.bincount(patients, weights=np.where(flags, of_image, 0.0)) * np.sqrt(distinct / max(distinct - 1, 1))
        for flags, distinct in zip((positives, ~positives), counts, strict=True)
    ]
    influence = parts[0] + parts[1]
    clustered, independent = float(influence @ influence), float(of_image @ of_image)
    images = float(positives.sum())
    effective = images / max(1.0, clustered / independent) if independent > 0 else float(counts[0])
    low, high = wilson_limits(value, max(effective, 1.0), confidence)
    if 0 < value < 1 and clustered > 0:
        quantile = student_quantile((1 + confidence) / 2, max(counts[0] - 1, 1))
        half = quantile * clustered**0.5 / (value * (1 - value))
        centre = np.log(value / (1 - value))
        low, high = min(low, logistic(centre - half)), max(high, logistic(centre + half))
    return Figure(value=value, low=low, high=high, count=int(images)), influence


def _value_and_influence(scores: Floats, positives: Flags) -> tuple[float, Floats]:
    """Return the average precision and its derivative by the weight of each image, (N,), which sum to 0."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last image of each run of equal scores
    run_of_image = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    found = np.cumsum(positives[order])[ends].astype(np.float64)
    predicted = ends + 1.0
    gains = np.diff(found, prepend=0.0)  # positives of each run
    precision, count = found / predicted, found[-1]
    value = float(gains @ precision / count)
    # One more positive, or negative, changes the precision of its own run and of all runs below it.
    of_positive = np.cumsum((gains * (predicted - found) / predicted**2)[::-1])[::-1]
    of_negative = np.cumsum((gains * found / predicted**2)[::-1])[::-1]
    of_run = np.stack([-of_negative, precision - value + of_positive]) / count
    influence = np.empty(len(scores))
    influence[order] = of_run[positives[order].astype(int), run_of_image]
    return value, influence
