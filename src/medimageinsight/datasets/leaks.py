"""What one split knows of another: the same patient, id or pixels, or a picture that looks alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.datasets.fingerprint import near_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from medimageinsight.datasets.fingerprint import Fingerprint
    from medimageinsight.datasets.problems import Problems
    from medimageinsight.datasets.sample import Sample, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two pictures of different splits that look alike."""

    a: str  # where it is, as `Table.place` says
    b: str
    splits: tuple[str, str]
    bits: int  # that differ, of 256
    same_label: bool


def find_leaks(table: Table, problems: Problems, prints: Sequence[Fingerprint] | None = None) -> None:
    """Notes patients, ids and pixels that are in more than one split.

    A patient and an id are one within their source: another source may count its patients from 1 too.

    Args:
        table: All splits together.
        problems: Where leaks are noted, each with the places of two samples and never a patient's id.
        prints: The samples' fingerprints, for leaks by pixels.
    """
    _noted(
        table, problems, "patient_in_two_splits", lambda one: (one.source, one.patient_id) if one.patient_id else None
    )
    _noted(table, problems, "id_in_two_splits", lambda one: (one.source, one.id) if one.id else None)
    if prints is not None:
        checksums = {id(sample): one.checksum for sample, one in zip(table.samples, prints, strict=True)}
        _noted(table, problems, "picture_in_two_splits", lambda one: checksums[id(one)] or None)


def find_near_duplicates(table: Table, prints: Sequence[Fingerprint], *, distance: int = 8) -> list[NearPair]:
    """Pairs of pictures of different splits whose difference hashes are near, nearest first; equal pixels are not told.

    Args:
        table: All splits together.
        prints: The samples' fingerprints.
        distance: Most bits that may differ, of 256.
    """
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for index, (sample, one) in enumerate(zip(table.samples, prints, strict=True)):
        if one.difference:
            rows[sample.split].append(index)
    hashes = {
        split: np.frombuffer(b"".join(prints[index].difference for index in indices), np.uint8).reshape(
            len(indices), -1
        )
        for split, indices in rows.items()
    }
    splits = list(rows)
    found = []
    for number, first in enumerate(splits):
        for second in splits[number + 1 :]:
            for left, right, bits in near_pairs(hashes[first], hashes[second], distance):
                i, j = rows[first][left], rows[second][right]
                if prints[i].checksum == prints[j].checksum:
                    continue
                a, b = table.samples[i], table.samples[j]
                found.append(
                    NearPair(
                        a=table.place(a),
                        b=table.place(b),
                        splits=(first, second),
                        bits=bits,
                        same_label=(a.source, a.label) == (b.source, b.label),
                    )
                )
    return sorted(found, key=lambda pair: pair.bits)


def _noted(table: Table, problems: Problems, kind: str, key: Callable[[Sample], Hashable | None]) -> None:
    """One problem for each key that is in more than one split."""
    first: dict[Hashable, Sample] = {}
    told: set[Hashable] = set()
    for sample in table:
        of = key(sample)
        if of is None or of in told:
            continue
        before = first.setdefault(of, sample)
        if before.split != sample.split:
            told.add(of)
            place = f"{table.place(before)} and {table.place(sample)}"
            problems.add(kind, place, f"{before.split or '(empty)'}, {sample.split or '(empty)'}")
