"""Names of the labels of a classification head."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.datasets import Sample


class LabelNames:
    """Label names that are unique over sources: "source: label" if there are several sources.

    Attributes:
        labels: The label names of the samples, sorted.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._several_sources = len({sample.source for sample in samples}) > 1
        self.labels = tuple(sorted({self.name(sample) for sample in samples}))

    def name(self, sample: Sample) -> str:
        """Return the name of a sample's label, which need not be one of ``labels``."""
        return f"{sample.source}: {sample.label}" if self._several_sources else sample.label
