from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks.outliers import fit_outliers, neighbour_distances

RNG = np.random.default_rng(0)
CENTRE = 8 * np.eye(16)[0]
USUAL = CENTRE + RNG.standard_normal((2600, 16))
STRANGE = -CENTRE + RNG.standard_normal((50, 16))


def test_distances_by_hand() -> None:
    references = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    np.testing.assert_allclose(neighbour_distances([[1.0, 0.0]], references, 1), [0.0], atol=1e-7)
    np.testing.assert_allclose(neighbour_distances([[1.0, 0.0]], references, 2), [0.5], atol=1e-7)
    np.testing.assert_allclose(neighbour_distances([[3.0, 0.0]], references, 3), [1.0], atol=1e-7)


def test_the_threshold_keeps_its_word() -> None:
    detector = fit_outliers(USUAL[:500], USUAL[500:1500], k=5, quantile=0.9)
    share = detector.are_outliers(detector.distances(USUAL[1500:])).mean()
    assert share == pytest.approx(0.1, abs=0.03)
    assert detector.are_outliers(detector.distances(STRANGE)).all()


def test_chances_are_by_rank() -> None:
    detector = fit_outliers(USUAL[:500], USUAL[500:599], k=5)
    chances = detector.p_values(detector.distances(USUAL[1500:]))
    assert chances.mean() == pytest.approx(0.5, abs=0.1)
    assert detector.p_values(detector.distances(STRANGE)).tolist() == pytest.approx([0.01] * 50)
    assert detector.p_values([0.0]).tolist() == [1.0]


def test_more_images_than_a_block() -> None:
    alone = np.concatenate([neighbour_distances(part, USUAL[:50], 3) for part in np.array_split(USUAL, 7)])
    np.testing.assert_allclose(neighbour_distances(USUAL, USUAL[:50], 3), alone, atol=1e-6)


def test_no_images() -> None:
    assert fit_outliers(USUAL[:20], USUAL[20:40]).distances(np.empty((0, 16))).shape == (0,)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"k": 11}, "references_too_few"),
        ({"k": 0}, "references_too_few"),
        ({"validation": np.empty((0, 16))}, "validation_empty"),
        ({"quantile": 1.0}, "quantile_invalid"),
        ({"validation": np.ones((3, 4))}, "embeddings_bad_shape"),
        ({"references": np.full((10, 16), np.nan)}, "embeddings_not_finite"),
    ],
)
def test_what_is_refused(changed, code: str) -> None:
    values = {"references": USUAL[:10], "validation": USUAL[10:20], "k": 5, **changed}
    with pytest.raises(InputError) as caught:
        fit_outliers(values.pop("references"), values.pop("validation"), **values)
    assert caught.value.code == code
