"""Reliability against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess
from medimageinsight.evaluate.reliability import expected_errors, rescale
from medimageinsight.metrics.calibration import calibration_error
from tests.evaluate.made_embedded import made_embedded, made_table

pytest.importorskip("sklearn", reason="needs scikit-learn")


def test_expected_error_is_the_plain_sum_over_bins_whatever_the_weights():
    generator = np.random.default_rng(0)
    confidence, right = generator.random(200), generator.random(200) < 0.6
    weights = np.concatenate([np.ones((1, 200)), generator.integers(0, 4, (5, 200))]).astype(np.float32)
    found = expected_errors(confidence, right, weights)
    assert found[0] == pytest.approx(calibration_error(confidence, right))
    for row, value in zip(weights, found, strict=True):
        drawn = np.repeat(np.arange(200), row.astype(int))
        slow = 0.0
        for low in range(10):
            inside = [one for one in drawn if low / 10 <= confidence[one] < (low + 1) / 10]
            if inside:
                slow += abs(np.mean(confidence[inside]) - np.mean(right[inside])) * len(inside) / len(drawn)
        assert value == pytest.approx(slow)


def test_sure_and_right_is_no_error_and_sure_and_wrong_is_all():
    once = np.ones((1, 4), dtype=np.float32)
    assert expected_errors(np.ones(4), np.ones(4, dtype=bool), once)[0] == 0.0
    assert expected_errors(np.ones(4), np.zeros(4, dtype=bool), once)[0] == 1.0


def test_a_temperature_divides_logits():
    logits = np.array([[2.0, 0.0, -1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum()
    cooler = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert rescale(softmax, 2.0) == pytest.approx(cooler)
    assert rescale(softmax, 1.0) == pytest.approx(softmax)


def test_a_model_that_is_too_sure_is_cooled_by_what_val_says():
    settings = AssessmentSettings(evaluation=EvaluationSettings(resamples=40))
    embedded = made_embedded(made_table(count=60), noise=2.5, scale=5.0)
    one = assess(embedded, settings=settings).methods["zero-shot"].sources["chest"].calibration
    assert one.temperature > 2
    assert one.error_scaled.value < one.error.value / 2
    assert one.error.low <= one.error.value <= one.error.high
    assert sum(bar.count for bar in one.bins) == one.images
    assert all(bar.low <= bar.confidence <= bar.high + 1e-9 for bar in one.bins)
