"""The scores of one class or label against the rest, on the images where it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimageinsight.metrics.scores import Flags, Floats, Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelScores:
    """One class or label by one method.

    Attributes:
        label: Its name.
        rows: (n,) int, the scored images' rows in the table.
        positives: (n,) bool, whether an image has the label.
        scores: (n,) float64, higher for likely positives.
        val_positives: (m,) bool, of the images to choose on.
        val_scores: (m,) float64.
    """

    label: str
    rows: Integers
    positives: Flags
    scores: Floats
    val_positives: Flags
    val_scores: Floats
