from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import cosine_similarity, normalize


def test_cosine_by_hand() -> None:
    cosine = cosine_similarity([[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [1.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(cosine, [[0.0, 1.0, -1.0], [0.8, 0.6, -0.6]], atol=1e-7)
    assert cosine.dtype == np.float32


def test_a_single_embedding_drops_its_axis() -> None:
    one, many = np.array([3.0, 4.0]), np.eye(2)
    assert cosine_similarity(one, many).shape == (2,)
    assert cosine_similarity(many, one).shape == (2,)
    assert cosine_similarity(one, one).shape == ()
    assert float(cosine_similarity(one, one)) == 1.0


def test_never_beyond_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    assert np.abs(cosine_similarity(vectors, vectors)).max() <= 1.0


def test_a_zero_vector_is_like_nothing() -> None:
    assert cosine_similarity([[0.0, 0.0]], [[1.0, 0.0]]).tolist() == [[0.0]]
    assert normalize([0.0, 0.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", ["chest.png", ["a", "b"], [[[1.0]]], 3.0, [[1.0], [1.0, 2.0]], None])
def test_what_is_no_embedding(bad: object) -> None:
    with pytest.raises(InputError) as caught:
        cosine_similarity(bad, [[1.0, 0.0]])
    assert caught.value.code == "embeddings_bad_shape"


def test_embeddings_of_two_models() -> None:
    with pytest.raises(InputError, match="3 and 2"):
        cosine_similarity([[1.0, 0.0, 0.0]], [[1.0, 0.0]])
