"""Whether two batches of images come from one population, and how likely the difference is chance.

The distance of two vectors is sqrt(2 - 2 cosine), their chord. It is used and not 1 - cosine, half its square, because
with that one both statistics would see nothing but the means: energy distance needs a metric of strong negative type
(Székely and Rizzo 2013). The maximum mean discrepancy (Gretton et al. 2012) has a Gaussian kernel on the chord.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.vectors import number_patients, refuse_shared, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Floats, Integers

Statistic: TypeAlias = Literal["energy", "mmd"]

MAX_IMAGES = 10_000  # of both batches: their distances are a matrix, 400 MB of float32
_BLOCK = 64  # permutations at a time
_ROUNDING = 1e-6  # of sums of float32; a draw that is the observed one counts as reaching it


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a permutation test found.

    Attributes:
        statistic: Which.
        value: Of the two batches as they are; 0 for two equal ones, the more the further apart.
        expected: Its mean over the permutations: what chance gives.
        p_value: How often chance gives as much or more; never below 1 / (permutations + 1).
        permutations: How many were drawn.
        seed: What they were drawn with.
    """

    statistic: Statistic
    value: float
    expected: float
    p_value: float
    permutations: int
    seed: int


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
    """Compare two batches of embeddings.

    Images of one patient are alike, so patients change sides as a whole: give their ids where there are several images
    of one, else the test finds drift too often.

    Args:
        a: (N, D), at least 2.
        b: (M, D), at least 2.
        statistic: ``energy`` distance, or ``mmd``.
        permutations: To draw; the least p-value is 1 / (permutations + 1).
        seed: Of the draw.
        a_patients: N ids.
        b_patients: M ids, none of them among the first.

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
    first = unit_rows(a, what="vectors of the first batch")
    second = unit_rows(b, what="vectors of the second batch", dim=first.shape[1])
    if len(first) + len(second) > MAX_IMAGES:
        raise InputError(
            f"expected at most {MAX_IMAGES:,} images in both batches, got {len(first) + len(second):,}: draw some",
            code="batch_too_large",
        )
    refuse_shared(a_patients, b_patients, "expected no patient in both batches, got one: leave out one side's images")
    groups = np.concatenate(
        [(of_first := number_patients(a_patients, len(first))), number_patients(b_patients, len(second))]
    )
    groups[len(first) :] += len(first) + int(of_first.max(initial=0)) + 1  # no number on both sides
    _, group_of_image = np.unique(groups, return_inverse=True)
    groups_of_first = len(np.unique(of_first))
    if min(groups_of_first, int(group_of_image.max(initial=-1)) + 1 - groups_of_first) < 2:
        raise InputError("expected at least two patients in each batch, got fewer: add images", code="batch_too_small")

    likeness = _likeness(np.concatenate([first, second]), statistic)
    observed = float(_discrepancies(likeness, np.arange(len(likeness))[None] < len(first))[0])
    drawn = _permuted(likeness, group_of_image, groups_of_first, permutations, seed)
    at_least = int((drawn >= observed - _ROUNDING).sum())
    return Drift(
        statistic=statistic,
        value=max(observed, 0.0),
        expected=float(drawn.mean()),
        p_value=(at_least + 1) / (permutations + 1),
        permutations=permutations,
        seed=seed,
    )


def _likeness(vectors: NDArray[np.float32], statistic: Statistic) -> NDArray[np.float32]:
    """(N, N), the more the more alike: minus the chord, or a Gaussian kernel of it as wide as the median chord."""
    chord = np.sqrt(np.maximum(2.0 - 2.0 * (vectors @ vectors.T), 0.0, dtype=np.float32))
    np.fill_diagonal(chord, 0.0)  # rounding leaves it a little above
    if statistic == "energy":
        negative: NDArray[np.float32] = -chord
        return negative
    apart = chord[chord > 0]
    width = float(np.median(apart)) if len(apart) else 1.0
    kernel: NDArray[np.float32] = np.exp(-(chord**2) / (2 * width**2))
    return kernel


def _discrepancies(likeness: NDArray[np.float32], in_first: NDArray[np.bool_]) -> Floats:
    """Mean likeness within the first side, plus within the second, minus twice across: (P,) of memberships (P, N)."""
    sides = in_first.astype(np.float32)
    others = 1.0 - sides
    counts, other_counts = sides.sum(axis=1, dtype=np.float64), others.sum(axis=1, dtype=np.float64)
    towards_first = sides @ likeness  # (P, N)
    towards_second = others @ likeness
    within = (towards_first * sides).sum(axis=1, dtype=np.float64) / counts**2
    within_other = (towards_second * others).sum(axis=1, dtype=np.float64) / other_counts**2
    across = (towards_first * others).sum(axis=1, dtype=np.float64) / (counts * other_counts)
    discrepancies: Floats = within + within_other - 2 * across
    return discrepancies


def _permuted(
    likeness: NDArray[np.float32], group_of_image: Integers, groups_of_first: int, permutations: int, seed: int
) -> Floats:
    """(permutations,) discrepancies with as many patients as before drawn for the first side."""
    generator = np.random.default_rng(seed)
    ordered = np.arange(int(group_of_image.max()) + 1)
    found = np.empty(permutations)
    for start in range(0, permutations, _BLOCK):
        count = min(_BLOCK, permutations - start)
        is_first = generator.permuted(np.tile(ordered < groups_of_first, (count, 1)), axis=1)
        found[start : start + count] = _discrepancies(likeness, is_first[:, group_of_image])
    return found
