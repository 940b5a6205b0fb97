"""What a classification head calls the labels that it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets import Sample


class LabelNames:
    """Labels are classes within their source: where there are several sources, "source: label".

    Attributes:
        labels: Of the samples, sorted.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._several = len({sample.source for sample in samples}) > 1
        self.labels = tuple(sorted({self.of(sample) for sample in samples}))

    def of(self, sample: Sample) -> str:
        """The name of a sample's label, which need not be one of ``labels``."""
        return f"{sample.source}: {sample.label}" if self._several else sample.label
