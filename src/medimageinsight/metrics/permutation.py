"""Two models on the same pictures: the difference with its interval, and how likely chance alone makes one as large.

The interval resamples patients and takes both models' figures of each resample. The p-value is that of a permutation
test: were the models alike, a patient's two results could as well be swapped. Scores are swapped as ranks among their
model's, so that one model's scale does not matter (Venkatraman 2000, Biometrics 56:1134).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.scores import mean_of_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.scores import Flags, Floats, Integers

_EQUAL = 1e-9  # differences within it are one: sums in another order round otherwise


def draw_swaps(groups: Integers, *, permutations: int, seed: int) -> Flags:
    """(P, N) whether each picture's two results change places; all of a patient's do, or none."""
    generator = np.random.default_rng(seed)
    distinct, place = np.unique(groups, return_inverse=True)
    drawn: Flags = generator.random((permutations, len(distinct))) < 0.5
    swaps: Flags = drawn[:, place.ravel()]
    return swaps


def swapped_means(a: Floats, b: Floats, swaps: Flags) -> Floats:
    """(P,) the mean difference a - b of (n,) values under each row of (P, n) swaps."""
    signs = np.where(swaps, -1.0, 1.0)
    means: Floats = signs @ (a - b) / len(a)
    return means


def swapped_aucs(a: Floats, b: Floats, truth: Integers, swaps: Flags) -> Floats:
    """(P,) the difference of the mean one-against-rest AUC of (n, K) scores under each row of (P, n) swaps."""
    of_class = []
    for one in range(a.shape[1]):
        positives = truth == one
        if positives.all() or not positives.any():
            continue
        first, second = _ranks(a[:, one]), _ranks(b[:, one])
        of_class.append(
            rank_aucs(np.where(swaps, second, first), positives) - rank_aucs(np.where(swaps, first, second), positives)
        )
    return np.mean(of_class, axis=0) if of_class else np.full(len(swaps), np.nan)


def rank_aucs(scores: Floats, positives: Flags) -> Floats:
    """(P,) ROC AUC of each row of (P, n) scores, ties counting half: Mann and Whitney's U from mid-ranks."""
    count = positives.sum()
    ranks = _ranks_of_rows(scores)[:, positives].sum(axis=1)
    aucs: Floats = (ranks - count * (count + 1) / 2) / (count * (len(positives) - count))
    return aucs


def p_value(observed: float, swapped: Floats) -> float:
    """Two-sided, with the observed one among the permutations, so that it is never 0 (Phipson and Smyth 2010)."""
    as_large = int((np.abs(swapped) >= abs(observed) - _EQUAL).sum())
    return (1 + as_large) / (1 + len(swapped))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values for several tests at once (Holm 1979): below 0.05, even the family errs one time in twenty."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return [float(one) for one in adjusted]


def mean_over(differences: Sequence[Floats]) -> Floats:
    """(P,) the mean over sources of their (P,) differences."""
    return mean_of_known(np.stack(differences, axis=1))


def _ranks(values: Floats) -> Floats:
    ranks: Floats = _ranks_of_rows(values[None])[0]
    return ranks


def _ranks_of_rows(values: Floats) -> Floats:
    """Mid-ranks, from 1, within each row of (P, n)."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    count = values.shape[1]
    starts = np.concatenate([np.ones((len(values), 1), dtype=bool), np.diff(ordered, axis=1) > 0], axis=1)
    ends = np.concatenate([starts[:, 1:], np.ones((len(values), 1), dtype=bool)], axis=1)
    place = np.arange(count)
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, count)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(ordered, dtype=np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
