"""Calibration against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics.calibration import apply_temperature, calibration_error, resampled_calibration_errors


def test_calibration_error_equals_a_slow_sum_over_bins():
    generator = np.random.default_rng(0)
    confidence, correct = generator.random(200), generator.random(200) < 0.6
    weights = np.concatenate([np.ones((1, 200)), generator.integers(0, 4, (5, 200))]).astype(np.float32)
    errors = resampled_calibration_errors(confidence, correct, weights)
    assert errors[0] == pytest.approx(calibration_error(confidence, correct))
    for row, error in zip(weights, errors, strict=True):
        drawn = np.repeat(np.arange(200), row.astype(int))
        slow = 0.0
        for low in range(10):
            members = [index for index in drawn if low / 10 <= confidence[index] < (low + 1) / 10]
            if members:
                gap = abs(np.mean(confidence[members]) - np.mean(correct[members]))
                slow += gap * len(members) / len(drawn)
        assert error == pytest.approx(slow)


def test_confident_predictions_have_error_zero_if_right_and_one_if_wrong():
    once = np.ones((1, 4), dtype=np.float32)
    assert resampled_calibration_errors(np.ones(4), np.ones(4, dtype=bool), once)[0] == 0.0
    assert resampled_calibration_errors(np.ones(4), np.zeros(4, dtype=bool), once)[0] == 1.0


def test_temperature_divides_logits():
    logits = np.array([[2.0, 0.0, -1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum()
    cooler = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert apply_temperature(softmax, 2.0) == pytest.approx(cooler)
    assert apply_temperature(softmax, 1.0) == pytest.approx(softmax)
