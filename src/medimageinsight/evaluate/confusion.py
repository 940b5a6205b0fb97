"""Confusion matrices: how many images of each class got each answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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
