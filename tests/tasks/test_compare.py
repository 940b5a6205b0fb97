from __future__ import annotations

import math

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import compare_studies, study_vector


def test_study_vector_is_the_normalised_weighted_mean() -> None:
    np.testing.assert_allclose(study_vector([[2.0, 0.0], [0.0, 1.0]]), [math.sqrt(0.5)] * 2, rtol=1e-6)
    np.testing.assert_allclose(study_vector([[2.0, 0.0], [0.0, 1.0]], [3, 4]), [0.6, 0.8], rtol=1e-6)
    assert study_vector(np.eye(3)).dtype == np.float32


def test_images_of_weight_zero_are_ignored() -> None:
    np.testing.assert_allclose(study_vector([[1.0, 0.0], [0.0, 1.0]], [0, 2]), [0, 1], atol=1e-7)


@pytest.mark.parametrize(
    ("vectors", "weights", "code"),
    [
        (np.empty((0, 2)), None, "study_empty"),
        (np.eye(2), [1.0], "weights_invalid"),
        (np.eye(2), [1.0, -1.0], "weights_invalid"),
        (np.eye(2), [0.0, 0.0], "weights_invalid"),
        (np.eye(2), [1.0, math.nan], "weights_invalid"),
        ([[1.0, 0.0], [-1.0, 0.0]], None, "study_without_direction"),
        ([[math.nan, 0.0]], None, "embeddings_not_finite"),
        ([1.0, 0.0], None, "embeddings_bad_shape"),
    ],
)
def test_rejects_invalid_studies(vectors, weights, code: str) -> None:
    with pytest.raises(InputError) as caught:
        study_vector(vectors, weights)
    assert caught.value.code == code


def test_novelty_is_high_for_images_unlike_the_prior_study() -> None:
    prior = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    current = [[0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    comparison = compare_studies(prior, current)
    assert comparison.pairs.shape == (3, 2)
    assert comparison.nearest[[0, 2]].tolist() == [1, 0]
    np.testing.assert_allclose(comparison.novelty, [0, 1, 0], atol=1e-6)
    assert comparison.similarity == pytest.approx(2 / math.sqrt(6))
    assert compare_studies(prior, prior).similarity == pytest.approx(1)


def test_rejects_studies_of_two_models() -> None:
    with pytest.raises(InputError):
        compare_studies(np.eye(2), np.eye(3))
