"""Paired permutation tests against slow computations."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics.permutation import (
    draw_swaps,
    holm_adjust,
    permutation_p_value,
    rank_aucs,
    swapped_aucs,
    swapped_means,
)
from medimageinsight.metrics.scores import roc_auc


def test_rank_auc_equals_auc_with_ties():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, (7, 50)).astype(float)
    positives = generator.random(50) < 0.4
    assert rank_aucs(scores, positives) == pytest.approx([roc_auc(row, positives) for row in scores])


def test_swapped_figures_equal_slow_swaps_by_patient():
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 2)
    truth = np.tile([0, 1, 2], 10)
    a, b = generator.random((2, 30, 3))
    swaps = draw_swaps(groups, permutations=20, seed=0)
    assert (swaps[:, ::2] == swaps[:, 1::2]).all()
    rank = np.argsort(np.argsort(np.stack([a, b]), axis=1), axis=1).astype(float)
    for row, difference in zip(swaps, swapped_aucs(a, b, truth, swaps), strict=True):
        first = np.where(row[:, None], rank[1], rank[0])
        second = np.where(row[:, None], rank[0], rank[1])
        slow = [
            roc_auc(first[:, label], truth == label) - roc_auc(second[:, label], truth == label) for label in range(3)
        ]
        assert difference == pytest.approx(np.mean(slow))
    means = swapped_means(a[:, 0], b[:, 0], swaps)
    assert means[0] == pytest.approx(np.mean(np.where(swaps[0], b[:, 0] - a[:, 0], a[:, 0] - b[:, 0])))


def test_no_swaps_give_the_observed_difference_and_p_is_never_zero():
    generator = np.random.default_rng(2)
    a, b = generator.random((2, 30, 2))
    truth = np.tile([0, 1], 15)
    no_swaps = np.zeros((1, 30), dtype=bool)
    observed = np.mean(
        [roc_auc(a[:, label], truth == label) - roc_auc(b[:, label], truth == label) for label in range(2)]
    )
    assert swapped_aucs(a, b, truth, no_swaps)[0] == pytest.approx(observed)
    assert permutation_p_value(1.0, np.zeros(99)) == 0.01
    assert permutation_p_value(0.0, np.zeros(99)) == 1.0


def test_holm_by_hand():
    assert holm_adjust([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_adjust([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["accuracy", "auc"])
def test_false_alarm_rate_of_equal_models(kind):
    """About one in twenty of 200 pairs of equal models has p of at most 0.05; patients have two images."""
    generator = np.random.default_rng(3)
    groups, truth = np.repeat(np.arange(30), 2), np.repeat(np.tile([0, 1], 15), 2)
    rejected = 0
    for trial in range(200):
        patient = generator.standard_normal(30)[groups]  # shared by both models and both images
        own = generator.standard_normal((2, 30))[:, groups]  # of each model, shared by a patient's images
        scores = truth + patient + own + 0.3 * generator.standard_normal((2, 60))
        swaps = draw_swaps(groups, permutations=99, seed=trial)
        if kind == "accuracy":
            correct = ((scores > 0.5) == truth).astype(float)
            p = permutation_p_value(float(np.mean(correct[0] - correct[1])), swapped_means(*correct, swaps))
        else:
            observed = roc_auc(scores[0], truth == 1) - roc_auc(scores[1], truth == 1)
            p = permutation_p_value(observed, swapped_aucs(scores[0][:, None], scores[1][:, None], 1 - truth, swaps))
        rejected += p <= 0.05
    assert rejected <= 20  # 10 are expected; a correct test gives more than 20 once in a thousand
