"""Average precision: its value, its interval, and labels that are known of some images only."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics import average_precision, average_precision_figure
from medimageinsight.metrics.average_precision import class_precision_figures
from medimageinsight.metrics.intervals import class_auc_figures


@pytest.mark.parametrize("seed", range(8))
def test_equals_scikit_learn_with_and_without_ties(seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    for scores in (rng.normal(size=60), rng.integers(0, 6, 60) / 5.0):
        truth = rng.random(60) < 0.3
        expected = sklearn.average_precision_score(truth, scores)
        assert average_precision(scores, truth) == pytest.approx(expected, abs=1e-12)
        found = average_precision_figure(scores, truth, np.arange(60), confidence=0.95)
        assert found.value == pytest.approx(expected, abs=1e-12)
        assert found.count == truth.sum()
        assert 0 <= found.low < found.value < found.high <= 1


def test_influence_of_an_image_equals_that_of_its_weight_in_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    from medimageinsight.metrics.average_precision import _value_and_influence

    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 9, 50) / 9.0, rng.random(50) < 0.4
    value, influence = _value_and_influence(scores, truth)
    for index in range(50):
        weights = np.ones(50)
        weights[index] += 1e-6
        moved = sklearn.average_precision_score(truth, scores, sample_weight=weights)
        assert (moved - value) / 1e-6 == pytest.approx(influence[index], abs=1e-5)


def test_images_of_a_patient_widen_the_interval():
    rng = np.random.default_rng(1)
    truth = np.arange(200) < 40
    scores = rng.normal(size=200) + 1.5 * truth
    single = average_precision_figure(scores, truth, np.arange(200), confidence=0.95)
    scores3, truth3 = np.tile(scores, 3), np.tile(truth, 3)
    ignored = average_precision_figure(scores3, truth3, np.arange(600), confidence=0.95)
    clustered = average_precision_figure(scores3, truth3, np.tile(np.arange(200), 3), confidence=0.95)
    assert ignored.high - ignored.low < 0.7 * (single.high - single.low)
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.05)


def test_few_positives_have_no_figure_and_a_perfect_one_has_a_width():
    truth = np.arange(50) < 4
    assert average_precision_figure(truth.astype(float), truth, np.arange(50), confidence=0.95) is None
    truth = np.arange(50) < 6
    perfect = average_precision_figure(truth.astype(float), truth, np.arange(50), confidence=0.95)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low < 0.7
    assert average_precision_figure(truth.astype(float), truth, np.arange(50) // 10, confidence=0.95) is None
    assert np.isnan(average_precision(np.ones(3), np.zeros(3, dtype=bool)))


def test_intervals_of_few_positives_cover():
    rng, covered = np.random.default_rng(0), 0
    positives = rng.normal(size=2_000_000) + 1.0
    negatives = rng.normal(size=2_000_000)
    ordered = np.sort(positives)[::2000]
    above = 1 - np.arange(1000) / 1000
    false = 1 - np.searchsorted(np.sort(negatives), ordered) / 2_000_000
    share = 8 / 108
    true = float(np.mean(share * above / (share * above + (1 - share) * false)))
    for _ in range(400):
        truth = np.arange(108) < 8
        found = average_precision_figure(rng.normal(size=108) + truth, truth, np.arange(108), confidence=0.95)
        covered += found.low <= true <= found.high
    assert covered / 400 >= 0.93


def test_unknown_labels_are_neither_positive_nor_negative():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    truth = rng.random((80, 3)) < (0.4, 0.5, 0.02)
    scores = rng.normal(size=(80, 3)) + truth
    known = rng.random((80, 3)) < 0.8
    aucs = class_auc_figures(scores, truth, np.arange(80), confidence=0.95, known=known)
    precisions = class_precision_figures(scores, truth, np.arange(80), confidence=0.95, known=known)
    for column in range(2):
        rows = known[:, column]
        expected = sklearn.roc_auc_score(truth[rows, column], scores[rows, column])
        assert aucs.classes[column].value == pytest.approx(expected)
        expected = sklearn.average_precision_score(truth[rows, column], scores[rows, column])
        assert precisions.classes[column].value == pytest.approx(expected)
        assert precisions.classes[column].count == truth[rows, column].sum()
    assert precisions.classes[2] is None
    assert precisions.mean.value == pytest.approx(np.mean([figure.value for figure in precisions.classes[:2]]))
