"""Plots of confusion matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import source_name
from medimageinsight.reports.figure import INK, new_figure, save_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.evaluate.assessment import MethodAssessment
    from medimageinsight.evaluate.confusion import ConfusionMatrix
    from medimageinsight.reports.document import Plot

MAX_CLASSES = 25  # of a drawn matrix; the numbers of a larger one are in confusion.csv
_PANELS_PER_ROW = 2
_CELL = 0.42  # inches
_MAX_NAME = 16  # characters
_DARK = 0.6  # share from which white text is easier to read


def draw_confusion(name: str, method: MethodAssessment, folder: Path) -> list[Plot]:
    """Draw the confusion matrices of one method, a panel for each source; an empty list if there is none to draw."""
    matrices = {
        source: of_source.figures.confusion
        for source, of_source in method.sources.items()
        if of_source.figures.confusion is not None and len(of_source.figures.confusion.names) <= MAX_CLASSES
    }
    if not matrices:
        return []
    file = "confusion_" + name.lower().replace(" ", "_").replace("-", "_")
    columns = min(_PANELS_PER_ROW, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    side = 1.9 + _CELL * max(len(matrix.names) for matrix in matrices.values())
    with new_figure(side * columns, side * rows, name=file) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (source, matrix) in zip(panels, matrices.items(), strict=False):
            _draw_panel(axes, source, matrix)
        for axes in panels[len(matrices) :]:
            axes.set_visible(False)
        alt = (
            f"Confusion matrices of {name} on the scored split, one panel per source: rows are true classes, columns "
            "answers, cells the number of images, darker for a larger share of the row."
        )
        return [save_figure(figure, folder, file, alt=alt)]


def _draw_panel(axes: Axes, source: str, matrix: ConfusionMatrix) -> None:
    shares = [[0.0 if share is None else share for share in row] for row in matrix.shares]
    axes.pcolormesh(shares, cmap="Blues", vmin=0.0, vmax=1.0, edgecolors="white", linewidth=0.5)
    for row, counts in enumerate(matrix.counts):
        for column, count in enumerate(counts):
            color = "white" if shares[row][column] >= _DARK else "black"  # on the cell's own colour
            axes.text(column + 0.5, row + 0.5, f"{count}", ha="center", va="center", fontsize=7, color=color)
    names = [name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…" for name in matrix.names]
    centres = [index + 0.5 for index in range(len(names))]
    axes.set_xticks(centres, names, rotation=90, fontsize=7)
    axes.set_yticks(centres, names, fontsize=7)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.tick_params(length=0, colors=INK)
    axes.set(title=source_name(source), xlabel="answer", ylabel="truth")
