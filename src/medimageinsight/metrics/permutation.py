"""Paired permutation tests of two models on the same images.

If the models were equally good, the two results of a patient could be swapped. The p-value is the share of random swaps
with a difference at least as large as the observed one. Scores are swapped as ranks within each model, so that the
scale of a model's scores does not matter (Venkatraman 2000, Biometrics 56:1134).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.scores import Flags, Floats, Integers

_TOLERANCE = 1e-9  # smaller differences are rounding: sums are taken in another order


def draw_swaps(groups: Integers, *, permutations: int, seed: int) -> Flags:
    """Draw which images swap their two results: (P, N) bool, the same for all images of a patient, (N,) groups."""
    generator = np.random.default_rng(seed)
    distinct, group_index = np.unique(groups, return_inverse=True)
    drawn: Flags = generator.random((permutations, len(distinct))) < 0.5
    return drawn[:, group_index.ravel()]


def swapped_means(a: Floats, b: Floats, swaps: Flags) -> Floats:
    """Return the mean difference a - b of (n,) values under each row of (P, n) swaps: (P,)."""
    signs = np.where(swaps, -1.0, 1.0)
    return signs @ (a - b) / len(a)


def swapped_aucs(
    a: Floats, b: Floats, truth: Integers, swaps: Flags, *, classes: Sequence[int] | Integers | None = None
) -> Floats:
    """Return the difference of mean one-vs-rest AUC of (n, K) scores under each row of (P, n) swaps: (P,).

    ``classes`` are the columns that count, all by default. Classes without positives or negatives are left out; NaN if
    no class remains.
    """
    differences = []
    for column in range(a.shape[1]) if classes is None else classes:
        positives = truth == column
        if positives.all() or not positives.any():
            continue
        first, second = _ranks_of_rows(a[None, :, column]), _ranks_of_rows(b[None, :, column])
        differences.append(
            rank_aucs(np.where(swaps, second, first), positives) - rank_aucs(np.where(swaps, first, second), positives)
        )
    return np.mean(differences, axis=0) if differences else np.full(len(swaps), np.nan)


def rank_aucs(scores: Floats, positives: Flags) -> Floats:
    """Return the ROC AUC of each row of (P, n) scores: (P,), Mann and Whitney's U from mid-ranks, ties count half."""
    count = positives.sum()
    ranks = _ranks_of_rows(scores)[:, positives].sum(axis=1)
    aucs: Floats = (ranks - count * (count + 1) / 2) / (count * (len(positives) - count))
    return aucs


def permutation_p_value(observed: float, swapped: Floats) -> float:
    """Return the two-sided p-value of an observed difference among (P,) swapped ones.

    The observed difference counts as one of the permutations, so p is never 0 (Phipson and Smyth 2010).
    """
    as_large = int((np.abs(swapped) >= abs(observed) - _TOLERANCE).sum())
    return (1 + as_large) / (1 + len(swapped))


def holm_adjust(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple tests by Holm's method (1979), which controls the family-wise error."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(p) for p in adjusted]


def _ranks_of_rows(values: Floats) -> Floats:
    """Return mid-ranks, from 1, within each row of (P, n)."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    count = values.shape[1]
    starts = np.concatenate([np.ones((len(values), 1), dtype=bool), np.diff(ordered, axis=1) > 0], axis=1)
    ends = np.concatenate([starts[:, 1:], np.ones((len(values), 1), dtype=bool)], axis=1)
    index = np.arange(count)
    first = np.maximum.accumulate(np.where(starts, index, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, index, count)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(ordered, dtype=np.float64)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
