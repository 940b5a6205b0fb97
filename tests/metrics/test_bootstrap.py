from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics.bootstrap import bootstrap_figure, draw_bootstrap_weights, resampled_means


def test_images_of_a_patient_are_drawn_together_within_their_source():
    groups = np.array([0, 0, 0, 1, 2, 3, 4, 4])
    strata = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    weights = draw_bootstrap_weights(groups, strata, resamples=200, seed=0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 6] == weights[:, 7]).all()
    assert (weights[:, [0, 3, 4]].sum(axis=1) == 3).all()
    assert (weights[:, [5, 6]].sum(axis=1) == 2).all()
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.2)


def test_same_seed_draws_same_weights():
    groups = np.arange(20)
    first, again, different = (
        draw_bootstrap_weights(groups, groups * 0, resamples=5, seed=seed).tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != different


def test_interval_of_a_mean_equals_the_normal_interval():
    values = np.random.default_rng(0).standard_normal(400)
    weights = draw_bootstrap_weights(np.arange(400), np.zeros(400, dtype=int), resamples=4000, seed=0)
    found = bootstrap_figure(values.mean(), resampled_means(values, weights), count=400, confidence=0.95)
    half = 1.96 * values.std() / 20
    assert found is not None
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_correlated_images_of_a_patient_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).standard_normal(40), 10)
    one_stratum = np.zeros(400, dtype=int)
    widths = []
    for groups in (np.arange(400), np.repeat(np.arange(40), 10)):
        weights = draw_bootstrap_weights(groups, one_stratum, resamples=1000, seed=0)
        found = bootstrap_figure(values.mean(), resampled_means(values, weights), count=400, confidence=0.95)
        widths.append(found.high - found.low)
    assert widths[1] > 2.5 * widths[0]


def test_figure_without_known_values_is_none():
    unknown = np.full(10, np.nan)
    assert bootstrap_figure(0.5, unknown, count=1, confidence=0.95) is None
    assert bootstrap_figure(float("nan"), np.ones(10), count=1, confidence=0.95) is None
    partly_known = bootstrap_figure(0.5, np.array([np.nan, 0.25, 0.75]), count=1, confidence=0.5)
    assert (partly_known.low, partly_known.high) == (0.375, 0.625)


def test_resampled_means_are_computed_in_float64():
    values, weights = np.array([0.2, 0.6, 1.0]), np.ones((130, 3), np.float32)
    assert (resampled_means(values, weights) == values.sum() / 3).all()
