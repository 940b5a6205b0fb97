"""Leaks between splits: the same patient, id or pixels in two splits, and images that look alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.datasets.fingerprint import near_pairs

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from medimageinsight.datasets.fingerprint import Fingerprint
    from medimageinsight.datasets.problems import Problems
    from medimageinsight.datasets.sample import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two images of different splits that look alike."""

    a: str  # `Table.relative_location` of each
    b: str
    splits: tuple[str, str]
    bits: int  # different bits of the hashes, of 256
    same_label: bool


def find_leaks(table: Table, problems: Problems, fingerprints: Sequence[Fingerprint] | None = None) -> None:
    """Add a problem for each patient, id and image (by its pixels) that is in more than one split.

    A patient id and an id are unique within their source only: another source may number its patients from 1 too. A
    problem has the locations of two samples and never a patient's id. Pixels are compared by the samples' fingerprints.
    """
    patients = [(sample.source, sample.patient_id) if sample.patient_id else None for sample in table]
    ids = [(sample.source, sample.id) if sample.id else None for sample in table]
    _add_shared(table, problems, "patient_in_two_splits", patients)
    _add_shared(table, problems, "id_in_two_splits", ids)
    if fingerprints is not None:
        checksums = [entry.checksum or None for entry in fingerprints]
        _add_shared(table, problems, "picture_in_two_splits", checksums)


def find_near_duplicates(table: Table, fingerprints: Sequence[Fingerprint], *, distance: int = 8) -> list[NearPair]:
    """Return pairs of images of different splits with similar difference hashes but other pixels, nearest first.

    ``distance`` is the maximum number of different bits, of 256.
    """
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for index, (sample, entry) in enumerate(zip(table.samples, fingerprints, strict=True)):
        if entry.difference:
            rows[sample.split].append(index)
    hashes = {
        split: np.array([np.frombuffer(fingerprints[index].difference, np.uint8) for index in indices])
        for split, indices in rows.items()
    }
    pairs = []
    for first, second in combinations(rows, 2):
        for left, right, bits in near_pairs(hashes[first], hashes[second], distance):
            i, j = rows[first][left], rows[second][right]
            if fingerprints[i].checksum == fingerprints[j].checksum:
                continue
            a, b = table.samples[i], table.samples[j]
            pairs.append(
                NearPair(
                    a=table.relative_location(a),
                    b=table.relative_location(b),
                    splits=(first, second),
                    bits=bits,
                    same_label=(a.source, a.label) == (b.source, b.label),
                )
            )
    return sorted(pairs, key=lambda pair: pair.bits)


def _add_shared(table: Table, problems: Problems, kind: str, keys: Sequence[Hashable | None]) -> None:
    """Add one problem for each key that samples of two splits have; None is no key."""
    first_with: dict[Hashable, int] = {}
    reported: set[Hashable] = set()
    for index, (sample, key) in enumerate(zip(table.samples, keys, strict=True)):
        if key is None or key in reported:
            continue
        first = table.samples[first_with.setdefault(key, index)]
        if first.split != sample.split:
            reported.add(key)
            locations = f"{table.relative_location(first)} and {table.relative_location(sample)}"
            problems.add(kind, locations, f"{first.split or '(empty)'}, {sample.split or '(empty)'}")
