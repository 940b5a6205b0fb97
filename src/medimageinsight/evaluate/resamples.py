"""The resamples of one evaluation, the same for every figure, method and model, so that all can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.trial import number, patient_numbers
from medimageinsight.metrics.bootstrap import draw_multiplicities, figure

if TYPE_CHECKING:
    from medimageinsight.evaluate.embedded import EmbeddedTable
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """How often each scored picture counts; the first row is the split itself, once each.

    Attributes:
        rows: (N,) int, the scored pictures' places in the table, ascending.
        groups: (N,) int, the patient of each.
        weights: (1 + R, N) float32.
        confidence: Of the intervals.
    """

    rows: Integers
    groups: Integers
    weights: Weights
    confidence: float

    @classmethod
    def draw(
        cls, embedded: EmbeddedTable, *, split: str | None, resamples: int, seed: int, confidence: float
    ) -> Resamples:
        """Of patients, within each source."""
        rows = embedded.rows_of(split)
        samples = [embedded.table.samples[row] for row in rows]
        groups = patient_numbers(samples)
        strata, _ = number([sample.source for sample in samples])
        drawn = draw_multiplicities(groups, strata, resamples=resamples, seed=seed)
        once = np.ones((1, len(rows)), dtype=np.float32)
        return cls(rows=rows, groups=groups, weights=np.concatenate([once, drawn]), confidence=confidence)

    def of(self, rows: Integers) -> Weights:
        """(1 + R, n) of some scored pictures, by their places in the table."""
        return self.weights[:, np.searchsorted(self.rows, rows)]

    def patients_of(self, rows: Integers) -> Integers:
        """(n,) the patients of some scored pictures."""
        return self.groups[np.searchsorted(self.rows, rows)]

    def figure(self, values: Floats, count: int) -> Figure | None:
        """Of (1 + R,) values: the first with the interval that the others give."""
        return figure(float(values[0]), values[1:], count=count, confidence=self.confidence)
