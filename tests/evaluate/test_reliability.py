"""Calibration of an assessed model."""

from __future__ import annotations

import pytest

from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess
from tests.evaluate.sample_tables import make_embedded, make_table


def test_overconfident_model_gets_a_temperature_from_val():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    settings = AssessmentSettings(evaluation=EvaluationSettings(resamples=40))
    embedded = make_embedded(make_table(count=60), noise=2.5, scale=5.0)
    calibration = assess(embedded, settings=settings).methods["zero-shot"].sources["chest"].calibration
    assert calibration.temperature > 2
    assert calibration.error_scaled.value < calibration.error.value / 2
    assert calibration.error.low <= calibration.error.value <= calibration.error.high
    assert sum(bar.count for bar in calibration.bins) == calibration.images
    assert all(bar.low <= bar.confidence <= bar.high + 1e-9 for bar in calibration.bins)
