"""Confidence intervals that keep their coverage with few images, and at 0 and 1, where resampling has no width.

Images of one patient are correlated: every function takes the patient of each image and widens the interval by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.metrics.bootstrap import Figure
from medimageinsight.metrics.scores import roc_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.scores import Flags, Floats, Integers

MIN_POSITIVES = 5  # patients with a label, and without it, below which its AUC has no interval that can be trusted
_BISECTIONS = 60


Estimate: TypeAlias = Callable[
    ["Floats", "Flags", "Integers", float, int],
    "tuple[Figure, Floats] | None",
]
"""From scores, positives, patients, confidence and min_positives, a figure and each patient's influence on it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OneVsRest:
    """One measure of each of K classes, None where it has too few positives or negatives, and their mean.

    Attributes:
        mean: Over the classes that have a figure; its interval has the correlations of the classes.
        defined: Whether a class has positives and negatives at all.
    """

    classes: tuple[Figure | None, ...]
    mean: Figure | None
    defined: tuple[bool, ...]


def share_figure(values: Floats | Flags, groups: Integers, *, confidence: float) -> Figure | None:
    """Return the mean of (N,) values from 0 to 1 with Wilson's score interval; None for no values.

    The number of images is divided by the design effect of their (N,) patients, at least 1 (Rao and Scott 1992,
    Biometrics 48:577); for one image a patient the interval of flags is Wilson's (1927, JASA 22:209).
    """
    count = len(values)
    if not count:
        return None
    exact = np.asarray(values, dtype=np.float64)
    share = float(exact.mean())
    low, high = wilson_limits(share, _effective_count(exact - share, groups), confidence)
    return Figure(value=share, low=low, high=high, count=count)


def wilson_limits(share: float, count: float, confidence: float) -> tuple[float, float]:
    """Return the limits of Wilson's score interval of a share of ``count`` independent flags."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * (max(share * (1 - share), 0.0) / count + z**2 / (4 * count**2)) ** 0.5 / (1 + z**2 / count)
    low, high = min(share, centre - half), max(share, centre + half)  # rounding would exclude shares of 0 and 1
    return max(0.0, low), min(1.0, high)


def auc_figure(
    scores: Floats, positives: Flags, groups: Integers, *, confidence: float, min_positives: int = MIN_POSITIVES
) -> Figure | None:
    """Return the ROC AUC of (N,) scores; None with fewer than ``min_positives`` patients of either kind.

    The interval is the wider of two: DeLong's on the logit scale, clustered by patient (DeLong 1988, Biometrics 44:837;
    Obuchowski 1997, Biometrics 53:567), with Student's t for few positives; and Newcombe's score interval
    (2006, Stat Med 25:559, method 5), which has a width at an AUC of 1. ``count`` is the number of positives.
    """
    patients = np.unique(groups, return_inverse=True)[1]
    found = auc_with_influence(scores, positives, patients, confidence, min_positives)
    return None if found is None else found[0]


def class_auc_figures(
    scores: Floats,
    truth: Flags,
    groups: Integers,
    *,
    confidence: float,
    known: Flags | None = None,
    min_positives: int = MIN_POSITIVES,
) -> OneVsRest:
    """Return `auc_figure` of each class of (N, K) scores and truth, and the mean over classes that have one.

    Images that are not ``known`` (N, K) are neither positive nor negative for a class. The mean's interval combines
    theirs with the correlations of their AUCs, see `combine_figures`.
    """
    return one_vs_rest(auc_with_influence, scores, truth, groups, known, confidence, min_positives)


def one_vs_rest(
    estimate: Estimate,
    scores: Floats,
    truth: Flags,
    groups: Integers,
    known: Flags | None,
    confidence: float,
    min_positives: int,
) -> OneVsRest:
    """Return one measure of each class of (N, K) scores and truth, as `class_auc_figures` does."""
    patients = np.unique(groups, return_inverse=True)[1]
    is_known = np.ones_like(truth) if known is None else known
    figures: list[Figure | None] = []
    influences = []
    for column, positives, rows in zip(scores.T, truth.T, is_known.T, strict=True):
        found = estimate(column[rows], positives[rows], patients[rows], confidence, min_positives)
        figures.append(None if found is None else found[0])
        if found is not None:
            influence = np.zeros(len(scores))
            influence[: len(found[1])] = found[1]
            influences.append(influence)
    present = [figure for figure in figures if figure is not None]
    mean = None
    if present:
        share = np.full(len(present), 1 / len(present))
        mean = combine_figures(present, share, count=len(scores), correlations=_correlations(np.stack(influences)))
    return OneVsRest(
        classes=tuple(figures),
        mean=mean,
        defined=tuple(
            bool(positives[rows].any() and not positives[rows].all())
            for positives, rows in zip(truth.T, is_known.T, strict=True)
        ),
    )


def combine_figures(
    figures: Sequence[Figure],
    weights: Floats | Sequence[float],
    *,
    count: int,
    correlations: Floats | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Return the weighted sum of figures, as a mean or a difference, with an interval made from theirs.

    The distances from the values to the limits are added like standard errors, with the (n, n) correlations of the
    values, none by default (MOVER: Zou and Donner 2008, Stat Med 27:1693; Zou 2007, Psychol Methods 12:399).
    """
    factors = np.asarray(weights, dtype=np.float64)
    values, lows, highs = np.array([(figure.value, figure.low, figure.high) for figure in figures]).T
    below, above = values - lows, highs - values
    related = np.eye(len(factors)) if correlations is None else correlations
    value = float(factors @ values)

    def distance(positive: Floats, negative: Floats) -> float:
        parts = factors * np.where(factors > 0, positive, negative)
        return float(max(float(parts @ related @ parts), 0.0) ** 0.5)

    low, high = value - distance(below, above), value + distance(above, below)
    return Figure(value=value, low=max(limits[0], low), high=min(limits[1], high), count=count)


def mean_figure(figures: Sequence[Figure | None], *, count: int | None = None) -> Figure | None:
    """Return the mean of independent figures that are not None; ``count`` is their number by default."""
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    return combine_figures(known, [1 / len(known)] * len(known), count=len(known) if count is None else count)


def mean_difference(figures: Sequence[Figure | None], *, count: int | None = None) -> Figure | None:
    """Return the mean of independent differences, as `mean_figure` does of values."""
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    number = len(known) if count is None else count
    return combine_figures(known, [1 / len(known)] * len(known), count=number, limits=(-1.0, 1.0))


def difference_figure(a: Figure, b: Figure, *, correlation: float = 0.0) -> Figure:
    """Return a less b, for values with that correlation."""
    related = np.array([[1.0, correlation], [correlation, 1.0]])
    return combine_figures((a, b), (1.0, -1.0), count=a.count, correlations=related, limits=(-1.0, 1.0))


def resampled_correlation(a: Floats, b: Floats) -> float:
    """Return the correlation of two values over the same (R,) resamples; 1 if they are equal, 0 if one is constant."""
    if np.array_equal(a, b, equal_nan=True):
        return 1.0
    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < 2 or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return 0.0
    return float(np.corrcoef(a[known], b[known])[0, 1])


def student_quantile(probability: float, freedom: float) -> float:
    """Return a quantile of Student's t, from 4 degrees of freedom within 0.001 (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * freedom**4)
    )


def auc_with_influence(
    scores: Floats, positives: Flags, patients: Integers, confidence: float, min_positives: int
) -> tuple[Figure, Floats] | None:
    """Return the AUC and each patient's influence on it, whose squares sum to the variance.

    ``patients`` are (N,) whole numbers from 0; None with fewer than ``min_positives`` of them of either kind.
    """
    counts = [len(np.unique(patients[flags])) for flags in (positives, ~positives)]
    if min(counts) < max(min_positives, 1):
        return None
    area = roc_auc(scores, positives)
    deviations = _placements(scores, positives) - area
    parts = []
    for flags, distinct in zip((positives, ~positives), counts, strict=True):
        sums = np.bincount(patients, weights=np.where(flags, deviations, 0.0) / flags.sum())
        parts.append(sums * np.sqrt(distinct / max(distinct - 1, 1)))
    influence = parts[0] + parts[1]
    clustered = float(influence @ influence)
    independent = sum(
        float(np.square(deviations[flags]).sum()) / (flags.sum() * max(flags.sum() - 1, 1))
        for flags in (positives, ~positives)
    )
    effect = max(1.0, clustered / independent) if independent > 0 else 0.0
    sizes = [flags.sum() / effect for flags in (positives, ~positives)] if effect else counts
    low, high = _newcombe_limits(area, float(sizes[0]), float(sizes[1]), confidence)
    if 0 < area < 1 and clustered > 0:
        quantile = student_quantile((1 + confidence) / 2, max(min(counts) - 1, 1))
        half = quantile * clustered**0.5 / (area * (1 - area))
        centre = np.log(area / (1 - area))
        low, high = min(low, logistic(centre - half)), max(high, logistic(centre + half))
    return Figure(value=area, low=low, high=high, count=int(positives.sum())), influence


def _placements(scores: Floats, positives: Flags) -> Floats:
    """Return the share of negatives below each positive, of positives above each negative: (N,); ties count half."""
    result = np.empty(len(scores))
    negative, positive = np.sort(scores[~positives]), np.sort(scores[positives])
    below = [np.searchsorted(negative, scores[positives], side) for side in ("left", "right")]
    above = [len(positive) - np.searchsorted(positive, scores[~positives], side) for side in ("left", "right")]
    result[positives] = (below[0] + below[1]) / (2 * len(negative))
    result[~positives] = (above[0] + above[1]) / (2 * len(positive))
    return result


def _newcombe_limits(area: float, positives: float, negatives: float, confidence: float) -> tuple[float, float]:
    """Return the areas whose distance to the observed one is the normal quantile of their own standard error."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    size = (positives + negatives) / 2 - 1

    def excess(true: float) -> float:
        spread = 1 + size * (1 - true) / (2 - true) + size * true / (1 + true)
        return (area - true) ** 2 - z * z * true * (1 - true) * spread / (positives * negatives)

    return _root(excess, 0.0, area), _root(excess, 1.0, area)


def _root(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Return where a function that is above 0 outside falls to 0."""
    if outside == inside:
        return outside
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return outside


def _effective_count(deviations: Floats, groups: Integers) -> float:
    """Return the number of independent flags that know as much about a mean.

    It is that of the patients if all values are equal, or if there are too few patients to see how images correlate.
    """
    patients = np.unique(groups, return_inverse=True)[1]
    count, distinct = len(deviations), int(patients.max()) + 1
    independent = float(deviations @ deviations) / (count * max(count - 1, 1))
    if independent <= 0 or distinct < MIN_POSITIVES:
        return float(distinct)
    sums = np.bincount(patients, weights=deviations) / count
    clustered = float(sums @ sums) * distinct / max(distinct - 1, 1)
    return max(1.0, count / max(1.0, clustered / independent))


def logistic(value: float) -> float:
    """Return the share whose logit is a value."""
    return float(1 / (1 + np.exp(-value)))


def _correlations(influences: Floats) -> Floats:
    """Return the (K, K) correlations of K estimates, from their (K, patients) influences; 1 where one has none."""
    products = influences @ influences.T
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    known: Floats = np.divide(products, scale, out=np.ones_like(products), where=scale > 0)
    np.fill_diagonal(known, 1.0)
    return known
