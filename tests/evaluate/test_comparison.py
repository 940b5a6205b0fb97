"""Two models on the same pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess, compare
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.permutation import draw_swaps, holm, p_value, rank_aucs, swapped_aucs, swapped_means
from medimageinsight.metrics.scores import roc_auc
from tests.evaluate.made_embedded import made_embedded, made_table

SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=100), permutations=200)


def test_auc_of_ranks_is_the_auc_with_ties():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 6, (7, 50)).astype(float)
    positives = generator.random(50) < 0.4
    assert rank_aucs(scores, positives) == pytest.approx([roc_auc(row, positives) for row in scores])


def test_swaps_are_slow_swaps_by_patient():
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 2)
    truth = np.tile([0, 1, 2], 10)
    a, b = generator.random((2, 30, 3))
    swaps = draw_swaps(groups, permutations=20, seed=0)
    assert (swaps[:, ::2] == swaps[:, 1::2]).all()
    rank = np.argsort(np.argsort(np.stack([a, b]), axis=1), axis=1).astype(float)
    for row, found in zip(swaps, swapped_aucs(a, b, truth, swaps), strict=True):
        one = np.where(row[:, None], rank[1], rank[0])
        other = np.where(row[:, None], rank[0], rank[1])
        slow = [roc_auc(one[:, c], truth == c) - roc_auc(other[:, c], truth == c) for c in range(3)]
        assert found == pytest.approx(np.mean(slow))
    means = swapped_means(a[:, 0], b[:, 0], swaps)
    assert means[0] == pytest.approx(np.mean(np.where(swaps[0], b[:, 0] - a[:, 0], a[:, 0] - b[:, 0])))


def test_no_swap_is_the_observed_difference_and_p_is_never_zero():
    generator = np.random.default_rng(2)
    a, b = generator.random((2, 30, 2))
    truth = np.tile([0, 1], 15)
    none = np.zeros((1, 30), dtype=bool)
    observed = np.mean([roc_auc(a[:, c], truth == c) - roc_auc(b[:, c], truth == c) for c in range(2)])
    assert swapped_aucs(a, b, truth, none)[0] == pytest.approx(observed)
    assert p_value(1.0, np.zeros(99)) == 0.01
    assert p_value(0.0, np.zeros(99)) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["accuracy", "auc"])
def test_the_test_has_its_size_where_models_are_alike(kind):
    """Of 200 pairs of equally good models, about one in twenty may be told apart; patients have two pictures."""
    generator = np.random.default_rng(3)
    groups, truth = np.repeat(np.arange(30), 2), np.repeat(np.tile([0, 1], 15), 2)
    rejected = 0
    for trial in range(200):
        patient = generator.standard_normal(30)[groups]  # shared by both models and both pictures
        own = generator.standard_normal((2, 30))[:, groups]  # of each model, shared by a patient's pictures
        scores = truth + patient + own + 0.3 * generator.standard_normal((2, 60))
        swaps = draw_swaps(groups, permutations=99, seed=trial)
        if kind == "accuracy":
            right = ((scores > 0.5) == truth).astype(float)
            p = p_value(float(np.mean(right[0] - right[1])), swapped_means(*right, swaps))
        else:
            observed = roc_auc(scores[0], truth == 1) - roc_auc(scores[1], truth == 1)
            p = p_value(observed, swapped_aucs(scores[0][:, None], scores[1][:, None], 1 - truth, swaps))
        rejected += p <= 0.05
    assert rejected <= 20  # 10 are expected; of a right test more than 20 come once in a thousand


def test_intervals_of_the_difference_cover_it():
    """The interval of paired patients holds the true difference, 0, in about 19 of 20 tables."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = made_table(splits=("test",), sources=("chest",), labels=("a", "b"), count=40)
    settings = dataclasses.replace(SETTINGS, permutations=1)
    covered = 0
    for seed in range(60):
        pair = [made_embedded(table, noise=3.0, seed=(seed, side)) for side in (0, 1)]
        found = [assess(one, settings=settings) for one in pair]
        difference = compare(pair[0], found[0], pair[1], found[1]).differences[0].difference
        covered += difference.low <= 0 <= difference.high
    assert 50 <= covered <= 60


def test_a_better_model_is_found_better_and_a_model_is_its_own_equal():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = made_table(count=30)
    good, bad = made_embedded(table, noise=2.0), made_embedded(table, noise=4.0)
    assessed = [assess(one, settings=SETTINGS, name=name) for one, name in ((good, "good"), (bad, "bad"))]
    found = compare(good, assessed[0], bad, assessed[1])
    assert (found.model, found.against) == ("good", "bad")
    mean = next(one for one in found.differences if one.measure == "zero-shot, mean AUC")
    assert mean.source is None
    assert mean.difference.low > 0
    assert mean.p < 0.02
    assert mean.difference.value == pytest.approx(mean.model.value - mean.against.value)
    assert {one.source for one in found.differences} == {None, "chest", "knee"}
    assert any(one.measure == "image to image, precision at 5" for one in found.differences)
    assert all(one.p_family is None or one.p_family >= one.p for one in found.differences)
    same = compare(good, assessed[0], good, assessed[0])
    assert {(one.p, one.difference.value) for one in same.differences} == {(1.0, 0.0)}


def test_two_tables_are_no_pair():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    first, second = made_embedded(made_table()), made_embedded(made_table(count=10))
    with pytest.raises(ConfigError, match="one table") as caught:
        compare(first, assess(first, settings=SETTINGS), second, assess(second, settings=SETTINGS))
    assert caught.value.code == "comparison_unpaired"


def test_few_patients_are_never_significant_whatever_the_rounding():
    table = made_table(sources=("chest", "colon"), count=16, per_patient=8)
    pair = [made_embedded(table, noise=noise) for noise in (1.0, 3.0)]
    found = [assess(one, settings=SETTINGS, name=name) for one, name in zip(pair, "ab", strict=True)]
    comparison = compare(pair[0], found[0], pair[1], found[1])
    patients = {one.patient_id for one in table if one.split == "test" and one.source == "chest"}
    smallest = 0.6 / 2 ** (len(patients) - 1)  # swapping none and swapping all are equally extreme; less sampling noise
    assert min(one.p for one in comparison.differences if one.source) > smallest


def test_means_are_those_of_float64():
    values, weights = np.array([0.2, 0.6, 1.0]), np.ones((130, 3), np.float32)
    assert (resampled_means(values, weights) == values.sum() / 3).all()
