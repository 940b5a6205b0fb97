"""The classes of one source, and its images in the three splits: to train on, to choose on, to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.evaluation_data import number_sample_patients, number_values
from medimageinsight.evaluate.results import source_name

if TYPE_CHECKING:
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.metrics.scores import Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitImages:
    """The images of one source in one split.

    Attributes:
        rows: (n,) int, their rows in the table.
        truth: (n,) int, the class of each.
        groups: (n,) int, the patient of each.
    """

    rows: Integers
    truth: Integers
    groups: Integers

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Integers) -> SplitImages:
        """Return the images at some indices."""
        return SplitImages(rows=self.rows[indices], truth=self.truth[indices], groups=self.groups[indices])


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceClasses:
    """One source whose images are classified.

    Attributes:
        names: The L classes: its labels that have a finding, or all labels where none has.
        train: Images to train on, none of a patient who is also in another split.
        val: Images to choose on, none of a patient who is scored.
        test: Images to score.
        shared: Number of images that were left out of ``train`` and ``val`` because of their patient.
    """

    source: str
    names: tuple[str, ...]
    train: SplitImages
    val: SplitImages
    test: SplitImages
    shared: int

    @property
    def display_name(self) -> str:
        """The source's name for a reader."""
        return source_name(self.source)


def find_classes(
    embedded: EmbeddedTable, *, split: str | None, train_split: str | None, val_split: str | None
) -> tuple[SourceClasses, ...]:
    """Return the sources with images of two classes or more in the scored split, all images if that is None.

    Without a ``train_split`` there are no images to train on, without a ``val_split`` none to choose on.
    """
    table = embedded.table
    groups = number_sample_patients(table.samples)
    sources = []
    for source in dict.fromkeys(sample.source for sample in table):
        labelled = [row for row, sample in enumerate(table) if sample.source == source and sample.label]
        has_findings = any(table.samples[row].finding for row in labelled)
        labels = {table.samples[row].label for row in labelled if table.samples[row].finding or not has_findings}
        rows = np.array([row for row in labelled if table.samples[row].label in labels], dtype=np.int64)
        truth, names = number_values([table.samples[row].label for row in rows])
        all_images = SplitImages(rows=rows, truth=truth, groups=groups[rows])
        test = all_images.take(np.flatnonzero(np.isin(rows, embedded.rows_of(split))))
        if len(np.unique(test.truth)) < 2:
            continue
        val, train = (
            all_images.take(np.flatnonzero(np.isin(rows, [] if name is None else embedded.rows_of(name))))
            for name in (val_split, train_split)
        )
        own_val = val.take(np.flatnonzero(~np.isin(val.groups, test.groups)))
        later_groups = np.concatenate([test.groups, own_val.groups])
        own_train = train.take(np.flatnonzero(~np.isin(train.groups, later_groups)))
        shared = len(val) - len(own_val) + len(train) - len(own_train)
        sources.append(
            SourceClasses(source=source, names=names, train=own_train, val=own_val, test=test, shared=shared)
        )
    return tuple(sources)
