"""Patient ids: as numbers for resampling, and checks that two sets of images do not share a patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.scores import Integers


def number_patients(patients: Sequence[str] | None, count: int, *, known: Sequence[str] = ()) -> Integers:
    """Return patients as whole numbers, (count,) int64; an image without a patient id ('') gets a number of its own.

    ``patients`` is None if no id is known. Ids that are ``known`` are numbered first, from 0, so that two sets can be
    numbered alike.

    Raises:
        InputError: ``patients`` has another length (``patients_mismatched``).
    """
    patients = [""] * count if patients is None else patients
    if len(patients) != count:
        raise InputError(
            f"expected a patient id for each of {count} images, got {len(patients)}: give '' where it is not known",
            code="patients_mismatched",
        )
    numbers = {name: index for index, name in enumerate(dict.fromkeys((*known, *patients)))}
    start = len(numbers)
    return np.array([numbers[name] if name else start + index for index, name in enumerate(patients)], dtype=np.int64)


def reject_shared_patients(
    a: Sequence[str] | None, b: Sequence[str] | None, sets: str, advice: str = "leave out their images in one of them"
) -> None:
    """Raise if two sets have images of one patient, which are correlated; '' is an unknown patient.

    Raises:
        InputError: ``patients_shared``, with the names of both ``sets``, the number of patients and images, and advice.
    """
    first, second = a or (), b or ()
    shared = {*first} & {*second} - {""}
    if shared:
        images = sum(patient in shared for patient in (*first, *second))
        raise InputError(
            f"expected no patient in both {sets}, got at least one ({len(shared):,} patients with {images:,} images "
            f"in both): {advice}",
            code="patients_shared",
        )


def count_unknown(patients: Sequence[str] | None, count: int) -> int:
    """Return how many of ``count`` images have no patient id."""
    return count if not patients else sum(not patient for patient in patients)
