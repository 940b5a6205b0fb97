from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import NeighbourSettings, classify_by_neighbours

REFERENCES = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
LABELS = ["a", "b", "b", "c"]


def test_votes_match_hand_computed_values() -> None:
    settings = NeighbourSettings(k=3, temperature=0.5)
    (result,) = classify_by_neighbours([[2.0, 0.0]], REFERENCES, LABELS, settings=settings)
    votes = [math.exp(1.0 / 0.5), math.exp(0.8 / 0.5), math.exp(0.0)]
    assert [neighbour.index for neighbour in result.neighbours] == [0, 1, 2]
    assert [neighbour.label for neighbour in result.neighbours] == ["a", "b", "b"]
    assert [neighbour.similarity for neighbour in result.neighbours] == pytest.approx([1.0, 0.8, 0.0])
    assert [neighbour.weight for neighbour in result.neighbours] == pytest.approx([vote / sum(votes) for vote in votes])
    assert result.probabilities == pytest.approx(
        {"a": votes[0] / sum(votes), "b": (votes[1] + votes[2]) / sum(votes), "c": 0.0}
    )
    assert result.label == "a"


def test_low_temperature_favours_the_nearest_and_high_the_majority() -> None:
    query = [[1.0, 0.01]]
    cold = classify_by_neighbours(query, REFERENCES, LABELS, settings=NeighbourSettings(k=3, temperature=0.01))
    warm = classify_by_neighbours(query, REFERENCES, LABELS, settings=NeighbourSettings(k=3, temperature=100.0))
    assert cold[0].label == "a"
    assert warm[0].label == "b"


def test_excludes_references_of_the_same_patient() -> None:
    (result,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=["p"], reference_patients=["p", "q", "", "p"]
    )
    assert [neighbour.index for neighbour in result.neighbours] == [1, 2]
    assert result.label == "b"
    assert (result.excluded, result.patients_unknown) == (2, True)  # one that voted has no patient
    (known,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=["p"], reference_patients=["p", "q", "r", "p"]
    )
    assert (known.excluded, known.patients_unknown) == (2, False)


def test_unknown_patient_excludes_nothing() -> None:
    (result,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=[""], reference_patients=["", "", "q", "q"]
    )
    assert len(result.neighbours) == 4
    assert (result.excluded, result.patients_unknown) == (0, True)


def test_result_is_empty_if_all_references_are_excluded() -> None:
    (result,) = classify_by_neighbours(
        [[1.0, 0.0]], REFERENCES, LABELS, query_patients=["p"], reference_patients=["p"] * 4
    )
    assert result.neighbours == ()
    assert result.label is None
    assert set(result.probabilities.values()) == {0.0}


def test_classifies_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((3, 16))
    labels = rng.integers(3, size=90)
    results = classify_by_neighbours(
        centres[[0, 1, 2]], centres[labels] + rng.standard_normal((90, 16)), [str(label) for label in labels]
    )
    assert [result.label for result in results] == ["0", "1", "2"]
    assert all(sum(result.probabilities.values()) == pytest.approx(1) for result in results)


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
def test_rejects_invalid_arguments(queries, references, labels, patients, code: str) -> None:
    with pytest.raises(InputError) as caught:
        classify_by_neighbours(queries, references, labels, query_patients=patients)
    assert caught.value.code == code


def test_rejects_settings_out_of_range() -> None:
    for invalid in ({"k": 0}, {"temperature": 0.0}, {"temperature": math.inf}):
        with pytest.raises(InputError, match="expected k of 1 or more"):
            NeighbourSettings(**invalid)
