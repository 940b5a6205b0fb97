"""Splits by patient: all images of a patient are in one split, and always the same."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.datasets.sample import Table


def split_by_patient(table: Table, fractions: Mapping[str, float], *, seed: int = 0) -> Table:
    """Return the table with every sample assigned to a new split, by patient.

        split_by_patient(table, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=1)

    A patient's split is a hash of the seed and the patient's id, so it does not change when patients are added, and one
    patient in two sources is in one split. A sample without a patient id is split by its own id. The fractions hold in
    expectation, for patients: a small set may deviate a little.

    Raises:
        DatasetError: The fractions do not sum to 1, or one is not above 0 (``fractions_invalid``).
    """
    shares = fractions.values()
    if not all(share > 0 for share in shares) or not abs(sum(shares) - 1) <= 1e-6 or "" in fractions:
        raise DatasetError(
            "expected named fractions above 0 that sum to 1, as train 0.8 and val 0.2, got "
            f"{', '.join(f'{name!r} {share:g}' for name, share in fractions.items()) or 'none'}: correct them",
            code="fractions_invalid",
        )
    samples = tuple(
        replace(sample, split=_assigned_split(sample.patient_id, name, fractions, seed))
        for sample, name in zip(table.samples, table.ids, strict=True)
    )
    return replace(table, samples=samples)


def assign_missing_splits(table: Table, fractions: Mapping[str, float], *, seed: int = 0) -> Table:
    """Assign samples without a split to that of their patient's other images, or as `split_by_patient` does.

    Raises:
        DatasetError: As `split_by_patient`.
    """
    assigned = split_by_patient(table, fractions, seed=seed)
    split_of_patient: dict[str, str] = {}
    for sample in table:
        if sample.patient_id and sample.split:
            split_of_patient.setdefault(sample.patient_id, sample.split)
    samples = tuple(
        old if old.split else replace(new, split=split_of_patient.get(old.patient_id, new.split))
        for old, new in zip(table.samples, assigned.samples, strict=True)
    )
    return replace(table, samples=samples)


def _assigned_split(patient: str, sample_id: str, fractions: Mapping[str, float], seed: int) -> str:
    text = f"{seed}\0patient\0{patient}" if patient else f"{seed}\0id\0{sample_id}"
    position = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
    total = 0.0
    for split, fraction in fractions.items():
        total += fraction
        if position < total:
            return split
    return split
