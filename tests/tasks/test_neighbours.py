from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks.neighbours import NeighbourSettings, classify_by_neighbours

REFERENCES = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
LABELS = ["a", "b", "b", "c"]


def test_votes_by_hand() -> None:
    settings = NeighbourSettings(k=3, temperature=0.5)
    (answer,) = classify_by_neighbours([[2.0, 0.0]], REFERENCES, LABELS, settings=settings)
    votes = [math.exp(1.0 / 0.5), math.exp(0.8 / 0.5), math.exp(0.0)]
    assert [one.index for one in answer.neighbours] == [0, 1, 2]
    assert [one.label for one in answer.neighbours] == ["a", "b", "b"]
    assert [one.similarity for one in answer.neighbours] == pytest.approx([1.0, 0.8, 0.0])
    assert [one.weight for one in answer.neighbours] == pytest.approx([vote / sum(votes) for vote in votes])
    assert answer.probabilities == pytest.approx(
        {"a": votes[0] / sum(votes), "b": (votes[1] + votes[2]) / sum(votes), "c": 0.0}
    )
    assert answer.label == "a"


def test_a_low_temperature_lets_the_nearest_decide_and_a_high_one_the_most() -> None:
    query = [[1.0, 0.01]]
    cold = classify_by_neighbours(query, REFERENCES, LABELS, settings=NeighbourSettings(k=3, temperature=0.01))
    warm = classify_by_neighbours(query, REFERENCES, LABELS, settings=NeighbourSettings(k=3, temperature=100.0))
    assert cold[0].label == "a"
    assert warm[0].label == "b"


def test_the_own_patient_does_not_vote() -> None:
    (answer,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=["p"], reference_patients=["p", "q", "", "p"]
    )
    assert [one.index for one in answer.neighbours] == [1, 2]
    assert answer.label == "b"


def test_an_unknown_patient_excludes_nothing() -> None:
    (answer,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=[""], reference_patients=["", "", "q", "q"]
    )
    assert len(answer.neighbours) == 4


def test_nobody_left_to_vote() -> None:
    (answer,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=["p"], reference_patients=["p"] * 4
    )
    assert answer.neighbours == ()
    assert answer.label is None
    assert set(answer.probabilities.values()) == {0.0}


def test_clusters_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((3, 16))
    labels = rng.integers(3, size=90)
    answers = classify_by_neighbours(
        centres[[0, 1, 2]], centres[labels] + rng.standard_normal((90, 16)), [str(one) for one in labels]
    )
    assert [answer.label for answer in answers] == ["0", "1", "2"]
    assert all(sum(answer.probabilities.values()) == pytest.approx(1) for answer in answers)


@pytest.mark.parametrize(
    ("queries", "references", "labels", "patients", "code"),
    [
        ([[1.0]], REFERENCES, LABELS, None, "embeddings_bad_shape"),
        ([[1.0, math.nan]], REFERENCES, LABELS, None, "embeddings_not_finite"),
        ([[1.0, 0.0]], REFERENCES, ["a"], None, "labels_mismatched"),
        ([[1.0, 0.0]], np.empty((0, 2)), [], None, "references_empty"),
        ([[1.0, 0.0]], REFERENCES, LABELS, ["p", "q"], "patients_mismatched"),
    ],
)
def test_what_is_refused(queries, references, labels, patients, code: str) -> None:
    with pytest.raises(InputError) as caught:
        classify_by_neighbours(queries, references, labels, query_patients=patients)
    assert caught.value.code == code


def test_settings_out_of_range() -> None:
    for wrong in ({"k": 0}, {"temperature": 0.0}, {"temperature": math.inf}):
        with pytest.raises(InputError, match="expected k of 1 or more"):
            NeighbourSettings(**wrong)
