from __future__ import annotations

import numpy as np
import pytest

from medimageinsight.errors import InputError
from medimageinsight.tasks import find_drift

STATISTICS = ["energy", "mmd"]


def single_images(a: int, b: int) -> dict[str, list[str]]:
    """Patients with one image each."""
    return {"a_patients": [f"a{n}" for n in range(a)], "b_patients": [f"b{n}" for n in range(b)]}


def batch(count: int, seed: int, *, shift: float = 0.0, spread: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = spread * rng.standard_normal((count, 12))
    vectors[:, 0] += 1.0
    vectors[:, 1] += shift
    return vectors


@pytest.mark.parametrize("statistic", STATISTICS)
def test_detects_a_shift(statistic: str) -> None:
    drift = find_drift(
        batch(60, 0), batch(50, 1, shift=0.4), statistic=statistic, permutations=199, **single_images(60, 50)
    )
    assert drift.p_value == pytest.approx(1 / 200)
    assert drift.value > 3 * drift.expected > 0


@pytest.mark.parametrize("statistic", STATISTICS)
def test_detects_another_spread_with_the_same_mean(statistic: str) -> None:
    """With 1 - cosine, half the square of a distance, this is not detected."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(80, 1))
    narrow = np.eye(12)[0] + 0.05 * rng.standard_normal((80, 12))
    wide = np.eye(12)[0] + 0.05 * rng.standard_normal((80, 12)) + 0.3 * signs * np.eye(12)[1]
    assert find_drift(narrow, wide, statistic=statistic, permutations=199, **single_images(80, 80)).p_value < 0.02


@pytest.mark.parametrize("statistic", STATISTICS)
def test_p_values_are_uniform_without_drift(statistic: str) -> None:
    values = [
        find_drift(
            batch(25, seed), batch(25, 1000 + seed), statistic=statistic, permutations=99, **single_images(25, 25)
        ).p_value
        for seed in range(60)
    ]
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.05) < 0.15


def test_same_seed_gives_the_same_result() -> None:
    first, repeated, other_seed = (
        find_drift(batch(20, 0), batch(20, 1), permutations=99, seed=seed) for seed in (3, 3, 4)
    )
    assert first == repeated
    assert first.value == other_seed.value
    assert first.expected != other_seed.expected
    assert (first.permutations, first.seed) == (99, 3)


def test_energy_distance_matches_hand_computed_values() -> None:
    drift = find_drift([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]], permutations=1)
    assert drift.value == pytest.approx(2 * np.sqrt(2), rel=1e-6)
    assert find_drift(batch(10, 0), batch(10, 0), permutations=1).value == pytest.approx(0, abs=1e-3)


def test_copies_of_few_patients_are_not_drift() -> None:
    """Ten images of each patient: significant as single images, not by patient."""
    a, b = batch(5, 0).repeat(10, axis=0), batch(5, 7).repeat(10, axis=0)
    ids = [[f"{batch_name}{index // 10}" for index in range(50)] for batch_name in "ab"]
    by_image = find_drift(a, b, permutations=199, **single_images(50, 50))
    by_patient = find_drift(a, b, permutations=199, a_patients=ids[0], b_patients=ids[1])
    assert by_image.p_value < 0.02
    assert by_patient.p_value > 0.05
    assert by_patient.value == by_image.value


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"statistic": "ks"}, "drift_settings_invalid"),
        ({"permutations": 0}, "drift_settings_invalid"),
        ({"b": batch(1, 0)}, "batch_too_small"),
        ({"a": np.empty((0, 12))}, "batch_too_small"),
        ({"b": np.ones((4, 3))}, "embeddings_bad_shape"),
        ({"a": np.full((4, 12), np.inf)}, "embeddings_not_finite"),
        ({"a_patients": ["p"] * 4}, "batch_too_small"),
        ({"a_patients": list("pqrs"), "b_patients": list("stuv")}, "patients_shared"),
        ({"a_patients": ["p"]}, "patients_mismatched"),
        ({"a": np.ones((10_001, 12))}, "batch_too_large"),
    ],
)
def test_rejects_invalid_arguments(changed, code: str) -> None:
    values = {"a": batch(4, 0), "b": batch(4, 1), **changed}
    with pytest.raises(InputError) as caught:
        find_drift(values.pop("a"), values.pop("b"), **values)
    assert caught.value.code == code


def test_unknown_patients_do_not_raise_alarms() -> None:
    """Halves of one population, with one to five similar images of each patient."""
    rng, alarms = np.random.default_rng(0), {"unknown": 0, "single": 0}
    for seed in range(30):
        patients = batch(60, seed, spread=0.4)
        images = [patient + 0.3 * rng.standard_normal((rng.integers(1, 6), 12)) for patient in patients]
        a, b = np.concatenate(images[:30]), np.concatenate(images[30:])
        unknown = find_drift(a, b, permutations=99, seed=seed)
        assert not unknown.patients_known
        alarms["unknown"] += unknown.p_value <= 0.05
        single = find_drift(a, b, permutations=99, seed=seed, **single_images(len(a), len(b)))
        assert single.patients_known
        alarms["single"] += single.p_value <= 0.05
    assert alarms["unknown"] <= 3
    assert alarms["single"] >= 15


def test_large_drift_is_found_without_patients() -> None:
    assert find_drift(batch(100, 0), batch(100, 1, shift=0.5), permutations=199).p_value < 0.02
