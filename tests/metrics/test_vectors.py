from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.metrics import cosine_similarity, normalize


def test_cosine_by_hand() -> None:
    cosine = cosine_similarity([[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(cosine, [[0.0, 1.0, -1.0], [0.8, 0.6, -0.6]], atol=1e-7)
    assert cosine.dtype == np.float32


def test_single_embedding_drops_its_axis() -> None:
    single, many = np.array([3.0, 4.0]), np.eye(2)
    assert cosine_similarity(single, many).shape == (2,)
    assert cosine_similarity(many, single).shape == (2,)
    assert cosine_similarity(single, single).shape == ()
    assert float(cosine_similarity(single, single)) == 1.0


def test_cosine_is_at_most_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    assert np.abs(cosine_similarity(vectors, vectors)).max() <= 1.0


def test_zero_vector_has_cosine_zero() -> None:
    assert cosine_similarity([[0.0, 0.0]], [[1.0, 0.0]]).tolist() == [[0.0]]
    assert normalize([0.0, 0.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", ["chest.png", ["a", "b"], [[[1.0]]], 3.0, [[1.0], [1.0, 2.0]], None])
def test_invalid_embeddings_are_refused(bad: object) -> None:
    with pytest.raises(InputError) as caught:
        cosine_similarity(bad, [[1.0, 0.0]])
    assert caught.value.code == "embeddings_bad_shape"


def test_embeddings_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="3 and 2"):
        cosine_similarity([[1.0, 0.0, 0.0]], [[1.0, 0.0]])
