"""Confusion matrices: how many images of each class got each answer."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.assessment import MethodAssessment
    from medimageinsight.metrics.scores import Integers


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """Images by true class and by answer, the most probable class.

    Attributes:
        names: The K classes, of rows and of columns.
        counts: K rows of K numbers of images; a row is a true class.
        shares: The same divided by the sum of the row; None in the row of a class without images.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    shares: tuple[tuple[float | None, ...], ...]


def count_answers(names: Sequence[str], truth: Integers, answers: Integers) -> ConfusionMatrix:
    """Return the confusion matrix of (n,) true classes and answers, as indices into the names."""
    size = len(names)
    counts = np.bincount(truth * size + answers, minlength=size * size).reshape(size, size)
    return ConfusionMatrix(
        names=tuple(names),
        counts=tuple(tuple(map(int, row)) for row in counts),
        shares=tuple(tuple(float(count / row.sum()) if row.any() else None for count in row) for row in counts),
    )


def confusion_csv(methods: Mapping[str, MethodAssessment]) -> str:
    """Return all matrices as CSV: one row for each method, source, true class and answer."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("method", "source", "truth", "answer", "images", "share of truth"))
    for method, assessment in methods.items():
        for source, of_source in assessment.sources.items():
            matrix = of_source.figures.confusion
            if matrix is None:
                continue
            for truth, counts, shares in zip(matrix.names, matrix.counts, matrix.shares, strict=True):
                for answer, count, share in zip(matrix.names, counts, shares, strict=True):
                    shown = "" if share is None else f"{share:.6f}"
                    writer.writerow((method, source, truth, answer, count, shown))
    return stream.getvalue()
