"""Rows of operating points, in the reports of one label an image and of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import DASH, figure_cell

if TYPE_CHECKING:
    from medimageinsight.evaluate.operating_points import OperatingPoints

OPERATING_COLUMNS = (
    "Criterion",
    "Threshold",
    "Positives it was chosen on",
    "Sensitivity",
    "Specificity",
    "Positive predictive value",
    "Negative predictive value",
)


def operating_rows(operating: OperatingPoints) -> list[tuple[str, ...]]:
    """Return a row for each point and for each label without one: the label, and its `OPERATING_COLUMNS`."""
    rows = [
        (
            point.label,
            point.criterion,
            f"{point.threshold:.3g}",
            str(point.chosen_on),
            str(point.sensitivity),
            str(point.specificity),
            figure_cell(point.positive_predictive_value),
            figure_cell(point.negative_predictive_value),
        )
        for point in operating.points
    ]
    left_out = [
        (label, f"none: {reason}", *[DASH] * (len(OPERATING_COLUMNS) - 1)) for label, reason in operating.left_out
    ]
    return rows + left_out
