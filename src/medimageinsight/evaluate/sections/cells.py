"""Table cells of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimageinsight.evaluate.figures import EvaluationSettings
    from medimageinsight.metrics.bootstrap import Figure

DASH = "–"  # where the table does not allow a figure


def figure_cell(figure: Figure | None) -> str:
    """Return a figure with its interval as text."""
    return DASH if figure is None else str(figure)


def split_phrase(settings: EvaluationSettings) -> str:
    """Return the scored split in words."""
    return "all images" if settings.split is None else f"the {settings.split} split"
