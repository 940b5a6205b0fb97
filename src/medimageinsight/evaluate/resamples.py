"""The bootstrap resamples of one evaluation, shared by every figure, method and model so that all can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.evaluation_data import number_sample_patients, number_values
from medimageinsight.metrics.bootstrap import bootstrap_figure, draw_bootstrap_weights
from medimageinsight.metrics.intervals import share_figure

if TYPE_CHECKING:
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.evaluate.results import EvaluationSettings
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """How often each scored image counts; the first row is the split itself, with a weight of 1 for each image.

    Attributes:
        rows: (N,) int, the scored images' rows in the table, ascending.
        groups: (N,) int, the patient of each.
        weights: (1 + R, N) float32.
        confidence: Confidence level of the intervals.
        min_positives: As in `EvaluationSettings`.
    """

    rows: Integers
    groups: Integers
    weights: Weights
    confidence: float
    min_positives: int

    @classmethod
    def draw(cls, embedded: EmbeddedTable, settings: EvaluationSettings) -> Resamples:
        """Draw patients within each source of the scored split."""
        rows = embedded.rows_of(settings.split)
        samples = [embedded.table.samples[row] for row in rows]
        groups = number_sample_patients(samples)
        strata, _ = number_values([sample.source for sample in samples])
        drawn = draw_bootstrap_weights(groups, strata, resamples=settings.resamples, seed=settings.seed)
        once = np.ones((1, len(rows)), dtype=np.float32)
        return cls(
            rows=rows,
            groups=groups,
            weights=np.concatenate([once, drawn]),
            confidence=settings.confidence,
            min_positives=settings.min_positives,
        )

    def indices_of(self, rows: Integers) -> Integers:
        """Return the indices of some scored images, by their rows in the table: (n,) int."""
        return np.searchsorted(self.rows, rows)

    def weights_of(self, rows: Integers) -> Weights:
        """Return the weights of some scored images, by their rows in the table: (1 + R, n)."""
        return self.weights[:, self.indices_of(rows)]

    def groups_of(self, rows: Integers) -> Integers:
        """Return the patients of some scored images, by their rows in the table: (n,)."""
        return self.groups[self.indices_of(rows)]

    def share(self, values: Floats | Flags, rows: Integers) -> Figure | None:
        """Return the mean of values from 0 to 1 of some scored images, by their rows; None for no images."""
        return share_figure(values, self.groups_of(rows), confidence=self.confidence)

    def figure(self, values: Floats, count: int) -> Figure | None:
        """Return the first of (1 + R,) values with the interval from the other values."""
        return bootstrap_figure(float(values[0]), values[1:], count=count, confidence=self.confidence)
