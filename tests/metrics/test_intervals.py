"""Intervals with few images, at 0 and 1, and with several images a patient."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from medimageinsight.metrics import (
    Figure,
    auc_figure,
    combine_figures,
    difference_figure,
    mean_figure,
    share_figure,
    wilson_interval,
)
from medimageinsight.metrics.intervals import class_auc_figures, resampled_correlation, student_quantile
from medimageinsight.metrics.scores import roc_auc


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (1, 1), (13, 13), (0, 5), (3, 9)])
def test_share_of_single_images_has_wilsons_interval(successes, count):
    flags = np.arange(count) < successes
    found = share_figure(flags, np.arange(count), confidence=0.95)
    expected = wilson_interval(successes, count)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.low < found.high


def test_share_of_few_patients_is_less_certain():
    flags = np.repeat([True, False, True, True], 10)
    by_image = share_figure(flags, np.arange(40), confidence=0.95)
    by_patient = share_figure(flags, np.repeat(np.arange(4), 10), confidence=0.95)
    assert by_patient.value == by_image.value == 0.75
    assert by_patient.high - by_patient.low > 2.5 * (by_image.high - by_image.low)
    perfect = share_figure(np.ones(40, dtype=bool), np.repeat(np.arange(4), 10), confidence=0.95)
    assert perfect.low == pytest.approx(wilson_interval(4, 4).low)
    assert share_figure(np.zeros(0), np.zeros(0, dtype=int), confidence=0.95) is None


def test_share_equals_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion", reason="needs statsmodels")
    found = share_figure(np.arange(30) < 27, np.arange(30), confidence=0.9)
    assert (found.low, found.high) == pytest.approx(proportion.proportion_confint(27, 30, 0.1, "wilson"))


def delong_limits(scores, positives):
    """DeLong's interval on the logit scale by its definition, for many images."""
    pairs = (scores[positives][:, None] > scores[~positives]) + 0.5 * (scores[positives][:, None] == scores[~positives])
    area = pairs.mean()
    variance = pairs.mean(axis=1).var(ddof=1) / positives.sum() + pairs.mean(axis=0).var(ddof=1) / (~positives).sum()
    half = student_quantile(0.975, min(positives.sum(), (~positives).sum()) - 1) * variance**0.5 / (area * (1 - area))
    centre = np.log(area / (1 - area))
    return area, 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))


def test_auc_interval_is_at_least_that_of_delong():
    rng = np.random.default_rng(3)
    positives = np.arange(300) < 90
    scores = np.round(rng.normal(size=300) * np.where(positives, 2.5, 1.0) + positives, 1)  # with ties
    found = auc_figure(scores, positives, np.arange(300), confidence=0.95)
    area, low, high = delong_limits(scores, positives)
    assert found.value == roc_auc(scores, positives)
    assert (found.value, found.low, found.high) == pytest.approx((area, low, high))
    assert found.count == 90


def test_images_of_a_patient_widen_the_interval_of_an_auc():
    rng = np.random.default_rng(4)
    patient_scores, patient_positives = rng.normal(size=60), np.arange(60) < 20
    scores, positives = np.repeat(patient_scores + patient_positives, 5), np.repeat(patient_positives, 5)
    by_image = auc_figure(scores, positives, np.arange(300), confidence=0.95)
    by_patient = auc_figure(scores, positives, np.repeat(np.arange(60), 5), confidence=0.95)
    once = auc_figure(patient_scores + patient_positives, patient_positives, np.arange(60), confidence=0.95)
    assert by_patient.high - by_patient.low > 1.8 * (by_image.high - by_image.low)
    assert (by_patient.low, by_patient.high) == pytest.approx((once.low, once.high), abs=0.01)


def test_few_positives_have_no_auc_and_a_perfect_one_has_a_width():
    scores = np.arange(40.0)
    assert auc_figure(scores, scores >= 36, np.arange(40), confidence=0.95) is None
    assert auc_figure(scores, scores >= 4, np.arange(40), confidence=0.95) is None
    same_patient = np.where(scores >= 30, 0, np.arange(40))
    assert auc_figure(scores, scores >= 30, same_patient, confidence=0.95) is None
    perfect = auc_figure(scores, scores >= 35, np.arange(40), confidence=0.95)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert 0.6 < perfect.low < 0.9


def test_intervals_of_few_positives_cover():
    """A short run of ``benchmarks/intervals.py``; percentile bootstrap covered 0.76 to 0.83."""
    rng = np.random.default_rng(5)
    true, covered = NormalDist().cdf(1.2 / 2**0.5), 0
    for _ in range(300):
        positives = np.arange(45) < 5
        found = auc_figure(rng.normal(size=45) + 1.2 * positives, positives, np.arange(45), confidence=0.95)
        covered += found.low <= true <= found.high
    assert covered / 300 >= 0.93


def test_mean_over_two_classes_of_one_decision_is_not_more_certain():
    rng = np.random.default_rng(6)
    positives = np.arange(100) < 40
    scores = rng.normal(size=100) + positives
    found = class_auc_figures(
        np.stack([-scores, scores], axis=1),
        np.stack([~positives, positives], axis=1),
        np.arange(100),
        confidence=0.95,
    )
    assert (found.mean.low, found.mean.high) == pytest.approx((found.classes[0].low, found.classes[0].high))


def test_means_and_differences_of_figures():
    a = Figure(value=0.8, low=0.7, high=0.86, count=10)
    b = Figure(value=0.6, low=0.5, high=0.68, count=10)
    mean = mean_figure([a, None, b])
    assert (mean.value, mean.count) == (pytest.approx(0.7), 2)
    assert mean.low == pytest.approx(0.7 - (0.05**2 + 0.05**2) ** 0.5)
    difference = difference_figure(a, b)
    assert difference.low == pytest.approx(0.2 - (0.1**2 + 0.08**2) ** 0.5)
    assert difference.high == pytest.approx(0.2 + (0.06**2 + 0.1**2) ** 0.5)
    same = difference_figure(a, a, correlation=1.0)
    assert (same.value, same.high - same.low) == pytest.approx((0.0, 0.08))
    assert combine_figures([a, a], [0.5, 0.5], count=2, correlations=np.ones((2, 2))).low == pytest.approx(0.7)
    assert mean_figure([None]) is None
    assert resampled_correlation(np.arange(5.0), np.arange(5.0)) == 1.0
    assert resampled_correlation(np.arange(5.0), np.ones(5)) == 0.0


def test_quantiles_of_student_equal_scipy():
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy")
    for freedom in (4, 5, 9, 30, 1000):
        assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)
