from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.metrics.thresholds import Criterion, choose_threshold, score_threshold, wilson_interval

SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8])
TRUTH = np.array([False, False, True, False, True, True])


@pytest.mark.parametrize(
    ("criterion", "threshold"),
    [("youden", 0.25), ("sensitivity:0.6", 0.5), ("sensitivity:1", 0.25), ("f1", 0.25)],
)
def test_thresholds_by_hand(criterion: str, threshold: float) -> None:
    assert choose_threshold(SCORES, TRUTH, Criterion.parse(criterion)) == pytest.approx(threshold)


def test_every_criterion_is_maximal() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.2
    scores = np.round(rng.standard_normal(300) + truth, 1)  # with many ties

    def at(threshold: float) -> tuple[float, float, float]:
        predicted = scores >= threshold
        hits = (predicted & truth).sum()
        specificity = (~predicted & ~truth).sum() / (~truth).sum()
        return hits / truth.sum(), specificity, 2 * hits / (predicted.sum() + truth.sum())

    every = [at(score) for score in np.unique(scores)]
    sensitivity, specificity, _ = at(choose_threshold(scores, truth, Criterion()))
    assert sensitivity + specificity == pytest.approx(max(point[0] + point[1] for point in every))
    assert at(choose_threshold(scores, truth, Criterion.parse("f1")))[2] == pytest.approx(
        max(point[2] for point in every)
    )
    for wanted in (0.5, 0.8, 0.95, 1.0):
        sensitivity, specificity, _ = at(choose_threshold(scores, truth, Criterion.parse(f"sensitivity:{wanted}")))
        assert sensitivity >= wanted
        assert specificity == pytest.approx(max(point[1] for point in every if point[0] >= wanted))


def test_equal_scores_are_all_positive() -> None:
    threshold = choose_threshold([0.5, 0.5, 0.5], [True, False, False], Criterion())
    assert score_threshold([0.5, 0.5, 0.5], [True, False, False], threshold).sensitivity.value == 1


def test_threshold_separates_adjacent_floats() -> None:
    low, high = 1.0, math.nextafter(1.0, 2.0)
    threshold = choose_threshold([low, high], [False, True], Criterion())
    assert low < threshold <= high


def test_figures_of_a_threshold() -> None:
    found = score_threshold(SCORES, TRUTH, 0.35)
    assert (found.positives, found.negatives) == (3, 3)
    assert found.sensitivity.value == found.specificity.value == pytest.approx(2 / 3)
    assert found.sensitivity.low < 2 / 3 < found.sensitivity.high


def test_wilson_interval_as_published() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: method 3, score without continuity correction.
    for successes, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        share = wilson_interval(successes, count)
        assert (round(share.low, 4), round(share.high, 4)) == (low, high)
    assert round(wilson_interval(1, 29).low, 4) == 0.0061
    assert wilson_interval(5, 5).high == 1.0


@pytest.mark.parametrize(
    ("scores", "truth", "code"),
    [
        ([0.1, 0.2], [False, False], "tag_without_positives"),
        ([0.1, 0.2], [True, True], "tag_without_negatives"),
        ([0.1, math.nan], [True, False], "scores_bad"),
        ([0.1], [True, False], "scores_bad"),
        ([[0.1]], [[True]], "scores_bad"),
    ],
)
def test_unusable_scores_are_refused(scores, truth, code: str) -> None:
    for call in (lambda: choose_threshold(scores, truth, Criterion()), lambda: score_threshold(scores, truth, 0.5)):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == code


@pytest.mark.parametrize(
    "text", ["", "roc", "sensitivity", "sensitivity:", "sensitivity:0", "sensitivity:1.1", "sensitivity:x", "f1:0.5"]
)
def test_invalid_criterion_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Criterion.parse(text)
    assert caught.value.code == "criterion_invalid"


def test_criterion_as_text() -> None:
    for text in ("youden", "f1", "sensitivity:0.95"):
        assert str(Criterion.parse(text)) == text
