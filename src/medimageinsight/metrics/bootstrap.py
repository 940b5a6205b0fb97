"""Confidence intervals by resampling whole patients (percentile bootstrap, Efron and Tibshirani 1993, chapter 13).

Images of one patient are correlated, so patients are drawn, not images. A resample is not a copy of the data but a row
of weights: how often each image counts. All resamples of a metric are then one matrix product or one sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.scores import safe_ratio

if TYPE_CHECKING:
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value and its confidence interval, from ``count`` images, captions or sources."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def draw_bootstrap_weights(groups: Integers, strata: Integers, *, resamples: int, seed: int) -> Weights:
    """Draw how often each image counts in each resample.

    Within each stratum as many groups are drawn, with replacement, as it has: strata keep their size, and the images
    of a group are always drawn together.

    Args:
        groups: (N,) int, the patient of each image.
        strata: (N,) int, the source of each image; a group in two strata is drawn separately in each.
        resamples: R.
        seed: The same seed draws the same resamples.

    Returns:
        (R, N) float32 of whole numbers.
    """
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, len(groups)), dtype=np.float32)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        distinct, group_of_member = np.unique(groups[members], return_inverse=True)
        count = len(distinct)
        draws = generator.integers(count, size=(resamples, count)) + np.arange(resamples)[:, None] * count
        multiplicity = np.bincount(draws.ravel(), minlength=resamples * count).reshape(resamples, count)
        weights[:, members] = multiplicity[:, group_of_member]
    return weights


def resampled_means(values: Floats | Flags, weights: Weights) -> Floats:
    """Return the mean of (N,) values in each resample of (R, N) weights: (R,), NaN where nothing was drawn."""
    # In float64, a few resamples at a time: in float32 equal means would not be equal to those of a permutation.
    exact = values.astype(np.float64)
    total = np.concatenate([weights[start : start + 64] @ exact for start in range(0, len(weights), 64)])
    return safe_ratio(total, weights.sum(axis=1, dtype=np.float64))


def bootstrap_figure(value: float, resampled: Floats, *, count: int, confidence: float) -> Figure | None:
    """Return a value with its percentile interval from (R,) resampled values, ignoring NaN.

    None if the value or every resampled value is NaN: too little was scored.
    """
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(known):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return Figure(value=float(value), low=float(low), high=float(high), count=count)
