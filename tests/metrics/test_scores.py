from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.metrics.scores import (
    mean_ignoring_nan,
    one_vs_rest_auc,
    precision_at_k,
    recall_at_k,
    roc_auc,
    weighted_roc_auc,
)


def test_auc_by_hand():
    # Pairs (positive, negative): (0.8, 0.3), (0.8, 0.5) and (0.5, 0.3) in order, (0.5, 0.5) a tie.
    assert roc_auc(np.array([0.3, 0.5, 0.5, 0.8]), np.array([False, False, True, True])) == 3.5 / 4
    assert roc_auc(np.array([1.0, 2.0]), np.array([False, True])) == 1.0
    assert roc_auc(np.array([2.0, 1.0]), np.array([False, True])) == 0.0
    assert roc_auc(np.zeros(4), np.array([False, True, True, True])) == 0.5


def test_auc_without_both_classes_is_nan():
    assert np.isnan(roc_auc(np.array([1.0, 2.0]), np.array([True, True])))
    assert np.isnan(roc_auc(np.array([1.0, 2.0]), np.array([False, False])))
    assert np.isnan(roc_auc(np.array([]), np.array([], dtype=bool)))


@pytest.mark.parametrize("decimals", [1, 6])
def test_auc_equals_scikit_learn(decimals):
    sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    generator = np.random.default_rng(0)
    scores = generator.standard_normal(500).round(decimals)  # one decimal: many ties
    positives = generator.random(500) < 0.3
    assert roc_auc(scores, positives) == pytest.approx(sklearn.roc_auc_score(positives, scores), abs=1e-12)
    weights = generator.integers(0, 4, (3, 500)).astype(np.float32)
    expected = [sklearn.roc_auc_score(positives, scores, sample_weight=row) for row in weights]
    assert weighted_roc_auc(scores, positives, weights) == pytest.approx(expected, abs=1e-12)


def test_one_vs_rest_auc_equals_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    generator = np.random.default_rng(1)
    scores = generator.dirichlet(np.ones(4), 300)
    labels = generator.integers(0, 4, 300)
    expected = sklearn.roc_auc_score(labels, scores, multi_class="ovr")
    assert one_vs_rest_auc(scores, labels).mean() == pytest.approx(expected, abs=1e-12)


def test_class_without_positives_or_negatives_has_no_auc():
    scores = np.array([[0.9, 0.0, 0.1], [0.2, 0.0, 0.8], [0.4, 0.1, 0.5]])
    labels = np.array([0, 2, 2])
    assert one_vs_rest_auc(scores, labels) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert np.isnan(one_vs_rest_auc(scores, np.zeros(3, dtype=int))).all()
    assert mean_ignoring_nan(np.array([[1.0, np.nan, 0.5], [np.nan] * 3])) == pytest.approx([0.75, np.nan], nan_ok=True)


def test_retrieval_metrics_by_hand():
    relevant = np.array([[False, True, True], [False, False, False], [True, False, False]])
    assert precision_at_k(relevant, 2).tolist() == [0.5, 0.0, 0.5]
    assert recall_at_k(relevant, 1).tolist() == [0.0, 0.0, 1.0]
    assert recall_at_k(relevant, 3).tolist() == [1.0, 0.0, 1.0]
