"""Splits by patient: all pictures of a patient on one side, the same side each time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.datasets.sample import Table

_RESOLUTION = 1 << 64


def split_by_patient(table: Table, fractions: Mapping[str, float], *, seed: int = 0) -> Table:
    """The table with every sample's split drawn anew, by patient.

        split_by_patient(table, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=1)

    A patient's split is a hash of the seed and the patient's id, so it does not change when others are added, and one
    patient in two sources is in one split. A sample without a patient is a patient of its own, by its id. The fractions
    hold in expectation, for patients: a small set may be a little off.

    Args:
        table: The samples.
        fractions: Share of patients of each split; they sum to 1.
        seed: Another one gives another division.

    Raises:
        DatasetError: The fractions do not sum to 1, or one is not above 0 (``fractions_invalid``).
    """
    shares = fractions.values()
    if not all(share > 0 for share in shares) or not abs(sum(shares) - 1) <= 1e-6 or "" in fractions:
        raise DatasetError(
            "expected named fractions above 0 that sum to 1, as train 0.8 and val 0.2: correct them",
            code="fractions_invalid",
        )
    samples = tuple(
        replace(sample, split=_side(sample.patient_id, name, fractions, seed))
        for sample, name in zip(table.samples, table.ids, strict=True)
    )
    return replace(table, samples=samples)


def split_rest(table: Table, fractions: Mapping[str, float], *, seed: int = 0) -> Table:
    """Samples without a split get one: that of their patient's other pictures, or as `split_by_patient` draws it.

    Args:
        table: The samples; those that have a split keep it.
        fractions: Share of patients of each split, of those that have none.
        seed: Another one gives another division.

    Raises:
        DatasetError: As `split_by_patient`.
    """
    drawn = split_by_patient(table, fractions, seed=seed)
    of_patient: dict[str, str] = {}
    for sample in table:
        if sample.patient_id and sample.split:
            of_patient.setdefault(sample.patient_id, sample.split)
    samples = tuple(
        own if own.split else replace(other, split=of_patient.get(own.patient_id, other.split))
        for own, other in zip(table.samples, drawn.samples, strict=True)
    )
    return replace(table, samples=samples)


def _side(patient: str, name: str, fractions: Mapping[str, float], seed: int) -> str:
    text = f"{seed}\0patient\0{patient}" if patient else f"{seed}\0id\0{name}"
    share = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / _RESOLUTION
    total = 0.0
    for split, fraction in fractions.items():
        total += fraction
        if share < total:
            return split
    return split
