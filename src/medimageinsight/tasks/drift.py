"""Permutation test of drift: do two batches of images come from one population.

The distance of two vectors is their chord, sqrt(2 - 2 cosine). With 1 - cosine, half its square, both statistics would
compare the means only: energy distance needs a metric of strong negative type (Székely and Rizzo 2013). The
maximum mean discrepancy (Gretton et al. 2012) has a Gaussian kernel on the chord.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.patients import number_patients, reject_shared_patients
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Floats, Integers

Statistic: TypeAlias = Literal["energy", "mmd"]

MAX_IMAGES = 10_000  # of both batches: their distances are a matrix, 400 MB of float32
_BLOCK = 64  # permutations at once
_PATIENT_IMAGES = 8  # assumed at most, where patients are unknown
_MIN_GROUPS = 8  # of similar images in a batch
_POWER_ITERATIONS = 5
_TOLERANCE = 1e-6  # rounding of float32 sums: a permutation equal to the observed batches counts as at least as large


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The result of a permutation test."""

    statistic: Statistic
    value: float  # of the two batches; 0 for equal batches
    expected: float  # its mean over the permutations: the value by chance
    p_value: float  # the share of permutations with at least this value; the minimum is 1 / (permutations + 1)
    permutations: int
    seed: int
    patients_known: bool = True  # else similar images were permuted together


def find_drift(
    a: ArrayLike,
    b: ArrayLike,
    *,
    statistic: Statistic = "energy",
    permutations: int = 1000,
    seed: int = 0,
    a_patients: Sequence[str] | None = None,
    b_patients: Sequence[str] | None = None,
) -> Drift:
    """Compare two batches of embeddings, (N, D) and (M, D), by the ``energy`` distance or ``mmd``.

    Images of one patient are similar, so all images of a patient are permuted together. Where no patient is known
    (None), up to eight similar images of a batch are permuted together as if they were of one patient: without that,
    27 % of the halves of one population of chest X-rays seemed to differ. Smaller drift is missed then; give ids, one
    for each image where every patient has a single image.

    Raises:
        InputError: A batch of fewer than 2 patients (``batch_too_small``), more than `MAX_IMAGES` images together
            (``batch_too_large``), a patient in both (``patients_shared``), an unknown statistic or no permutations
            (``drift_settings_invalid``), or vectors that do not fit or are not finite.
    """
    if statistic not in ("energy", "mmd") or permutations < 1:
        raise InputError(
            f"expected the statistic energy or mmd and at least one permutation, got {statistic} and {permutations}",
            code="drift_settings_invalid",
        )
    first = unit_rows(a, name="vectors of the first batch")
    second = unit_rows(b, name="vectors of the second batch", dim=first.shape[1])
    count = len(first)
    if count + len(second) > MAX_IMAGES:
        raise InputError(
            f"expected at most {MAX_IMAGES:,} images in both batches, got {count + len(second):,}: use a random sample",
            code="batch_too_large",
        )
    vectors = np.concatenate([first, second])
    group_of_image, groups_of_a = _number_groups(
        _group_similar(first) if a_patients is None else a_patients,
        count,
        _group_similar(second, start=count) if b_patients is None else b_patients,
        len(vectors) - count,
    )
    similarity = _similarity(vectors, statistic)
    observed = float(_discrepancies(similarity, np.arange(len(vectors))[None] < count)[0])
    permuted = _permuted_discrepancies(similarity, group_of_image, groups_of_a, permutations, seed)
    at_least = int((permuted >= observed - _TOLERANCE).sum())
    return Drift(
        statistic=statistic,
        value=max(observed, 0.0),
        expected=float(permuted.mean()),
        p_value=(at_least + 1) / (permutations + 1),
        permutations=permutations,
        seed=seed,
        patients_known=a_patients is not None and b_patients is not None,
    )


def _group_similar(vectors: NDArray[np.float32], *, start: int = 0) -> list[str]:
    """Return the name of each vector's group: at most `_PATIENT_IMAGES` similar vectors, smaller in a small batch.

    With fewer than about eight groups in a batch no p-value could be small. Vectors are halved along their first
    principal direction until the halves are small.
    """
    size = min(_PATIENT_IMAGES, max(len(vectors) // _MIN_GROUPS, 1))
    names = [""] * len(vectors)
    pending = [np.arange(len(vectors))]
    while pending:
        rows = pending.pop()
        if len(rows) <= size:
            for row in rows:
                names[row] = f"group {start + int(rows[0])}"
            continue
        centred = vectors[rows] - vectors[rows].mean(axis=0)
        order = rows[np.argsort(centred @ _first_direction(centred), kind="stable")]
        pending += [order[: len(order) // 2], order[len(order) // 2 :]]
    return names


def _first_direction(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the direction of largest variance, (D,), by a few power iterations from the longest vector."""
    direction: NDArray[np.float32] = centred[np.argmax(np.square(centred).sum(axis=1))]
    for _ in range(_POWER_ITERATIONS):
        direction = centred.T @ (centred @ direction)
        direction /= max(float(np.linalg.norm(direction)), 1e-30)
    return direction


def _number_groups(
    a_patients: Sequence[str] | None, a_count: int, b_patients: Sequence[str] | None, b_count: int
) -> tuple[Integers, int]:
    """Return the patient of each image of both batches as a number, from 0 in the first, and the first's count."""
    reject_shared_patients(a_patients, b_patients, "batches")
    numbers_of_a = number_patients(a_patients, a_count)
    above_a = a_count + int(numbers_of_a.max(initial=0)) + 1
    numbers_of_b = number_patients(b_patients, b_count) + above_a
    _, group_of_image = np.unique(np.concatenate([numbers_of_a, numbers_of_b]), return_inverse=True)
    groups_of_a = len(np.unique(numbers_of_a))
    groups_of_b = int(group_of_image.max(initial=-1)) + 1 - groups_of_a
    if min(groups_of_a, groups_of_b) < 2:
        raise InputError(
            f"expected at least two patients in each batch, got {groups_of_a} and {groups_of_b}: add images",
            code="batch_too_small",
        )
    return group_of_image, groups_of_a


def _similarity(vectors: NDArray[np.float32], statistic: Statistic) -> NDArray[np.float32]:
    """Return (N, N): the negative chord, or a Gaussian kernel of the chord as wide as the median chord."""
    chord = np.sqrt(np.maximum(2.0 - 2.0 * (vectors @ vectors.T), 0.0, dtype=np.float32))
    np.fill_diagonal(chord, 0.0)  # slightly above 0 by rounding
    similarity: NDArray[np.float32] = -chord
    if statistic == "mmd":
        positive = chord[chord > 0]
        width = float(np.median(positive)) if len(positive) else 1.0
        similarity = np.exp(-(chord**2) / (2 * width**2))
    return similarity


def _discrepancies(similarity: NDArray[np.float32], in_a: NDArray[np.bool_]) -> Floats:
    """Return the mean similarity within a plus within b minus twice between them: (P,) of memberships (P, N)."""
    a = in_a.astype(np.float32)
    b = 1.0 - a
    a_counts, b_counts = a.sum(axis=1, dtype=np.float64), b.sum(axis=1, dtype=np.float64)
    to_a = a @ similarity  # (P, N)
    to_b = b @ similarity
    within_a = (to_a * a).sum(axis=1, dtype=np.float64) / a_counts**2
    within_b = (to_b * b).sum(axis=1, dtype=np.float64) / b_counts**2
    between = (to_a * b).sum(axis=1, dtype=np.float64) / (a_counts * b_counts)
    discrepancies: Floats = within_a + within_b - 2 * between
    return discrepancies


def _permuted_discrepancies(
    similarity: NDArray[np.float32], group_of_image: Integers, groups_of_a: int, permutations: int, seed: int
) -> Floats:
    """Return (permutations,) discrepancies with the same number of random patients in the first batch."""
    generator = np.random.default_rng(seed)
    groups = np.arange(int(group_of_image.max()) + 1)
    discrepancies = np.empty(permutations)
    for start in range(0, permutations, _BLOCK):
        count = min(_BLOCK, permutations - start)
        is_in_a = generator.permuted(np.tile(groups < groups_of_a, (count, 1)), axis=1)
        discrepancies[start : start + count] = _discrepancies(similarity, is_in_a[:, group_of_image])
    return discrepancies
