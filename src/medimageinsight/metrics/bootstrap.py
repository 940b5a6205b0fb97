"""Confidence intervals by resampling whole patients (percentile bootstrap, Efron and Tibshirani 1993, chapter 13).

Pictures of one patient are alike, so the patient is what is drawn. A resample is not a copy of the data but a row of
multiplicities: how often each picture counts. All resamples of a metric are then one matrix product or one sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.scores import ratio

if TYPE_CHECKING:
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


def draw_multiplicities(groups: Integers, strata: Integers, *, resamples: int, seed: int) -> Weights:
    """How often each picture counts in each resample.

    Within each stratum as many groups are drawn, with replacement, as it has: strata keep their size, and the pictures
    of a group always come together.

    Args:
        groups: (N,) int, the patient of each picture.
        strata: (N,) int, the source of each picture; a group in two strata is drawn apart in each.
        resamples: R, how many to draw.
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
    """Mean of (N,) values in each of the resamples of (R, N) weights: (R,), NaN where nothing was drawn."""
    # In float64, a few resamples at a time: in float32 equal means would not be equal to those of a permutation.
    exact = values.astype(np.float64)
    total = np.concatenate([weights[start : start + 64] @ exact for start in range(0, len(weights), 64)])
    return ratio(total, weights.sum(axis=1, dtype=np.float64))


def figure(value: float, resampled: Floats, *, count: int, confidence: float) -> Figure | None:
    """A value with the middle ``confidence`` of its (R,) resampled values, those that are NaN left out.

    None where the value, or every resample of it, is NaN: too little was scored to say anything.
    """
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(known):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return Figure(value=float(value), low=float(low), high=float(high), count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value and its confidence interval, from ``count`` pictures, captions or sources."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"
