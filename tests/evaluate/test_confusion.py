"""Confusion matrices and average precision of an assessment."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from medimageinsight.evaluate import AssessmentSettings, EvaluationSettings, assess, evaluate, write_assessment
from medimageinsight.evaluate.confusion import count_answers
from tests.evaluate.sample_tables import make_embedded, make_table

sklearn = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
SETTINGS = AssessmentSettings(evaluation=EvaluationSettings(resamples=40), permutations=20)


@pytest.fixture(scope="module")
def assessment():
    return assess(make_embedded(make_table(), noise=2.0), settings=SETTINGS)


def test_counts_and_average_precision_equal_scikit_learn(assessment):
    for method, by_source in assessment.scores.items():
        for source, scores in by_source.items():
            figures = assessment.methods[method].sources[source].figures
            answers = scores.probabilities.argmax(axis=1)
            matrix = figures.confusion
            assert matrix.names == scores.names
            assert np.array_equal(matrix.counts, sklearn.confusion_matrix(scores.truth, answers))
            shares = sklearn.confusion_matrix(scores.truth, answers, normalize="true")
            assert np.array(matrix.shares) == pytest.approx(shares)
            precisions = [
                sklearn.average_precision_score(scores.truth == index, scores.probabilities[:, index])
                for index in range(len(scores.names))
            ]
            found = [figures.label_average_precision[name].value for name in scores.names]
            assert found == pytest.approx(precisions)
            assert figures.mean_average_precision.value == pytest.approx(np.mean(precisions))


def test_class_without_images_has_counts_but_no_shares():
    matrix = count_answers(("a", "b"), np.array([0, 0]), np.array([1, 0]))
    assert matrix.counts == ((1, 1), (0, 0))
    assert matrix.shares == ((0.5, 0.5), (None, None))


def test_matrices_are_written_and_an_earlier_report_is_replaced(assessment, tmp_path):
    folder = write_assessment(assessment, tmp_path / "report")
    rows = list(csv.DictReader(io.StringIO((folder / "confusion.csv").read_text())))
    assert len(rows) == 3 * 2 * 9
    assert sum(int(row["images"]) for row in rows) == 3 * 2 * 60
    document = json.loads((folder / "report.json").read_text())
    counts = document["methods"]["kNN"]["sources"]["chest"]["figures"]["confusion"]["counts"]
    assert [int(row["images"]) for row in rows if (row["method"], row["source"]) == ("kNN", "chest")] == [
        count for row in counts for count in row
    ]
    text = (folder / "report.md").read_text()
    assert "](confusion_linear_probe.png)" in text
    assert "| Truth | a | b | c |" in text
    assert "Average precision" in text
    write_assessment(assessment, folder)


class Stub:
    """A model whose embeddings are random."""

    logit_scale = 1.0

    def embed_images(self, sources, /, *, errors, progress):
        del errors, progress
        return list(np.random.default_rng(0).standard_normal((len(sources), 8)).astype(np.float32))

    def embed_texts(self, texts, /):
        return np.random.default_rng(1).standard_normal((len(texts), 8)).astype(np.float32)


def test_zero_shot_report_has_average_precision_and_a_confusion_matrix():
    report = evaluate(Stub(), make_table(), settings=EvaluationSettings(resamples=20))
    findings = report.sources["chest"].findings
    assert set(findings.label_average_precision) == {"a", "b", "c"}
    mean = np.mean([figure.value for figure in findings.label_average_precision.values()])
    assert findings.mean_average_precision.value == pytest.approx(mean)
    counts = np.array(findings.confusion.counts)
    assert counts.sum(axis=1).tolist() == [20, 20, 20]
    assert np.trace(counts) / counts.sum() == pytest.approx(findings.accuracy.value)
