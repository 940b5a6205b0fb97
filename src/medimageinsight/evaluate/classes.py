"""The classes of one source, and its pictures on the three sides: learnt from, chosen on, scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.trial import number, patient_numbers

if TYPE_CHECKING:
    from medimageinsight.evaluate.embedded import EmbeddedTable
    from medimageinsight.metrics.scores import Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Some pictures of one source.

    Attributes:
        rows: (n,) int, their places in the table.
        truth: (n,) int, the class of each.
        groups: (n,) int, the patient of each.
    """

    rows: Integers
    truth: Integers
    groups: Integers

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: Integers) -> Side:
        """Some of them."""
        return Side(rows=self.rows[kept], truth=self.truth[kept], groups=self.groups[kept])


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceClasses:
    """One source whose pictures are told apart.

    Attributes:
        source: Its name.
        names: The L classes: its labels that have a finding, or all labels where none has.
        train: Pictures to learn from, none of a patient who is also on another side.
        val: Pictures to choose on, none of a patient who is scored.
        test: Pictures to score.
        shared: Pictures that were left out of ``train`` and ``val`` for their patient.
    """

    source: str
    names: tuple[str, ...]
    train: Side
    val: Side
    test: Side
    shared: int


def read_classes(
    embedded: EmbeddedTable, *, split: str | None, train_split: str | None, val_split: str | None
) -> tuple[SourceClasses, ...]:
    """The sources with pictures of two classes or more in the scored split.

    Args:
        embedded: All splits of a table.
        split: The scored one.
        train_split: None for no pictures to learn from.
        val_split: None for no pictures to choose on.
    """
    table = embedded.table
    groups = patient_numbers(table.samples)
    found = []
    for source in dict.fromkeys(sample.source for sample in table):
        own = [row for row, sample in enumerate(table) if sample.source == source and sample.label]
        read = any(table.samples[row].finding for row in own)
        counted = {table.samples[row].label for row in own if table.samples[row].finding or not read}
        rows = np.array([row for row in own if table.samples[row].label in counted], dtype=np.int64)
        truth, names = number([table.samples[row].label for row in rows])
        everything = Side(rows=rows, truth=truth, groups=groups[rows])
        test, val, train = (
            everything.take(np.flatnonzero(np.isin(rows, embedded.rows_of(one))))
            if known
            else everything.take(rows[:0])
            for one, known in (
                (split, True),
                (val_split, val_split is not None),
                (train_split, train_split is not None),
            )
        )
        if len(np.unique(test.truth)) < 2:
            continue
        own_val = val.take(np.flatnonzero(~np.isin(val.groups, test.groups)))
        elsewhere = np.concatenate([test.groups, own_val.groups])
        own_train = train.take(np.flatnonzero(~np.isin(train.groups, elsewhere)))
        shared = len(val) - len(own_val) + len(train) - len(own_train)
        found.append(SourceClasses(source=source, names=names, train=own_train, val=own_val, test=test, shared=shared))
    return tuple(found)
