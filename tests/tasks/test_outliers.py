from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import fit_outliers, neighbour_distances

RNG = np.random.default_rng(0)
CENTRE = 8 * np.eye(16)[0]
USUAL = CENTRE + RNG.standard_normal((2600, 16))
UNUSUAL = -CENTRE + RNG.standard_normal((50, 16))


def test_distances_match_hand_computed_values() -> None:
    references = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    np.testing.assert_allclose(neighbour_distances([[1.0, 0.0]], references, 1), [0.0], atol=1e-7)
    np.testing.assert_allclose(neighbour_distances([[1.0, 0.0]], references, 2), [0.5], atol=1e-7)
    np.testing.assert_allclose(neighbour_distances([[3.0, 0.0]], references, 3), [1.0], atol=1e-7)


def test_quantile_is_the_share_of_usual_images_below_the_threshold() -> None:
    detector = fit_outliers(USUAL[:500], USUAL[500:1500], k=5, quantile=0.9)
    share = np.mean([result.outlier for result in detector.detect(USUAL[1500:])])
    assert share == pytest.approx(0.1, abs=0.03)
    assert all(result.outlier for result in detector.detect(UNUSUAL))


def test_p_values_are_ranks_in_the_validation_images() -> None:
    detector = fit_outliers(USUAL[:500], USUAL[500:599], k=5)
    p_values = detector.p_values(detector.distances(USUAL[1500:]))
    assert p_values.mean() == pytest.approx(0.5, abs=0.1)
    assert detector.p_values(detector.distances(UNUSUAL)).tolist() == pytest.approx([0.01] * 50)
    assert detector.p_values([0.0]).tolist() == [1.0]


def test_results_agree_with_distances_and_p_values() -> None:
    detector = fit_outliers(USUAL[:100], USUAL[100:200], k=5)
    results = detector.detect(USUAL[200:210])
    distances = detector.distances(USUAL[200:210])
    assert [result.distance for result in results] == distances.tolist()
    assert [result.p_value for result in results] == detector.p_values(distances).tolist()
    assert [result.outlier for result in results] == (distances > detector.threshold).tolist()
    assert detector.detect(np.empty((0, 16))) == []


def test_blocks_do_not_change_distances() -> None:
    in_parts = np.concatenate([neighbour_distances(part, USUAL[:50], 3) for part in np.array_split(USUAL, 7)])
    np.testing.assert_allclose(neighbour_distances(USUAL, USUAL[:50], 3), in_parts, atol=1e-6)


def test_accepts_zero_images() -> None:
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
def test_rejects_invalid_arguments(changed, code: str) -> None:
    values = {"references": USUAL[:10], "validation": USUAL[10:20], "k": 5, **changed}
    with pytest.raises(InputError) as caught:
        fit_outliers(values.pop("references"), values.pop("validation"), **values)
    assert caught.value.code == code


def test_usual_images_are_outliers_at_most_at_the_expected_rate() -> None:
    """The order statistic of conformal prediction; the sample quantile gave 0.13 instead of 0.1 for 19 images."""
    rng = np.random.default_rng(3)
    rates = []
    for count in (19, 49):
        found = []
        for _ in range(300):
            images = CENTRE + rng.standard_normal((30 + count + 20, 16))
            detector = fit_outliers(images[:30], images[30 : 30 + count], k=3, quantile=0.9)
            found.append(np.mean(detector.distances(images[30 + count :]) > detector.threshold))
        rates.append(np.mean(found))
        assert detector.expected_rate == pytest.approx(0.1)
    assert rates == pytest.approx([0.1, 0.1], abs=0.02)


def test_few_validation_images_cannot_hold_a_high_quantile() -> None:
    detector = fit_outliers(USUAL[:30], USUAL[30:40], k=3, quantile=0.99)
    assert detector.threshold == detector.validation[-1]
    assert detector.expected_rate == pytest.approx(1 / 11)
