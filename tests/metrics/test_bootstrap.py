from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics.bootstrap import draw_multiplicities, figure, resampled_means


def test_pictures_of_a_patient_come_together_and_sources_keep_their_patients():
    groups = np.array([0, 0, 0, 1, 2, 3, 4, 4])
    strata = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    weights = draw_multiplicities(groups, strata, resamples=200, seed=0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 6] == weights[:, 7]).all()
    assert (weights[:, [0, 3, 4]].sum(axis=1) == 3).all()
    assert (weights[:, [5, 6]].sum(axis=1) == 2).all()
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.2)


def test_the_same_seed_draws_the_same():
    groups = np.arange(20)
    first, again, other = (
        draw_multiplicities(groups, groups * 0, resamples=5, seed=seed).tolist() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).standard_normal(400)
    weights = draw_multiplicities(np.arange(400), np.zeros(400, dtype=int), resamples=4000, seed=0)
    found = figure(values.mean(), resampled_means(values, weights), count=400, confidence=0.95)
    half = 1.96 * values.std() / 20
    assert found is not None
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_patients_with_many_like_pictures_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).standard_normal(40), 10)
    one_stratum = np.zeros(400, dtype=int)
    widths = []
    for groups in (np.arange(400), np.repeat(np.arange(40), 10)):
        weights = draw_multiplicities(groups, one_stratum, resamples=1000, seed=0)
        found = figure(values.mean(), resampled_means(values, weights), count=400, confidence=0.95)
        widths.append(found.high - found.low)
    assert widths[1] > 2.5 * widths[0]


def test_what_no_resample_can_say_is_no_figure():
    nothing = np.full(10, np.nan)
    assert figure(0.5, nothing, count=1, confidence=0.95) is None
    assert figure(float("nan"), np.ones(10), count=1, confidence=0.95) is None
    some = figure(0.5, np.array([np.nan, 0.25, 0.75]), count=1, confidence=0.5)
    assert (some.low, some.high) == (0.375, 0.625)
