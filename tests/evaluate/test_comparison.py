"""Two models on the same images."""

from __future__ import annotations

import dataclasses

import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess, compare
from tests.evaluate.sample_tables import make_embedded, make_table

SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=100), permutations=200)


def test_interval_covers_the_true_difference():
    """The interval of paired patients contains the true difference, 0, in about 19 of 20 tables."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = make_table(splits=("test",), sources=("chest",), labels=("a", "b"), count=40)
    settings = dataclasses.replace(SETTINGS, permutations=1)
    covered = 0
    for seed in range(60):
        pair = [make_embedded(table, noise=3.0, seed=(seed, model)) for model in (0, 1)]
        assessed = [assess(embedded, settings=settings) for embedded in pair]
        difference = compare(pair[0], assessed[0], pair[1], assessed[1]).differences[0].difference
        covered += difference.low <= 0 <= difference.high
    assert 50 <= covered <= 60


def test_better_model_is_better_and_equal_models_do_not_differ():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = make_table(count=30)
    good, bad = make_embedded(table, noise=2.0), make_embedded(table, noise=4.0)
    assessed = [assess(embedded, settings=SETTINGS, name=name) for embedded, name in ((good, "good"), (bad, "bad"))]
    found = compare(good, assessed[0], bad, assessed[1])
    assert (found.model, found.against) == ("good", "bad")
    mean = next(row for row in found.differences if row.measure == "zero-shot, mean AUC")
    assert mean.source is None
    assert mean.difference.low > 0
    assert mean.p < 0.02
    assert mean.difference.value == pytest.approx(mean.model.value - mean.against.value)
    assert {row.source for row in found.differences} == {None, "chest", "knee"}
    assert any(row.measure == "image to image, precision at 5" for row in found.differences)
    assert all(row.p_family >= row.p for row in found.differences)
    means = [row for row in found.differences if row.source is None]
    assert min(row.p_family for row in means) == pytest.approx(min(1.0, len(means) * min(row.p for row in means)))
    same = compare(good, assessed[0], good, assessed[0])
    assert {(row.p, row.difference.value) for row in same.differences} == {(1.0, 0.0)}


def test_different_tables_are_refused():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    first, second = make_embedded(make_table()), make_embedded(make_table(count=10))
    with pytest.raises(ConfigError, match="one table") as caught:
        compare(first, assess(first, settings=SETTINGS), second, assess(second, settings=SETTINGS))
    assert caught.value.code == "comparison_unpaired"


def test_few_patients_are_never_significant():
    table = make_table(sources=("chest", "colon"), count=16, per_patient=8)
    pair = [make_embedded(table, noise=noise) for noise in (1.0, 3.0)]
    assessed = [assess(embedded, settings=SETTINGS, name=name) for embedded, name in zip(pair, "ab", strict=True)]
    comparison = compare(pair[0], assessed[0], pair[1], assessed[1])
    patients = {sample.patient_id for sample in table if sample.split == "test" and sample.source == "chest"}
    smallest = 0.6 / 2 ** (len(patients) - 1)  # no swap and all swaps are equally extreme; less sampling noise
    assert min(row.p for row in comparison.differences if row.source) > smallest
