"""The plot of a comparison: differences with their intervals, one panel a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.canvas import COLORS, INK, MARKERS, new_canvas, save, whisker
from medimageinsight.evaluate.document import Plot

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.evaluate.comparison import Comparison, Difference


def draw_differences(comparison: Comparison, folder: Path) -> Plot | None:
    """The AUC's and the retrieval's differences by source; right of the line the first model is better."""
    measures: dict[str, list[Difference]] = {}
    for one in comparison.differences:
        if not one.measure.endswith("accuracy"):
            measures.setdefault(one.measure, []).append(one)
    if not measures:
        return None
    heights = [0.9 + 0.24 * len(rows) for rows in measures.values()]
    with new_canvas(7.2, 0.5 + sum(heights), name="differences") as canvas:
        panels = canvas.subplots(len(measures), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (measure, rows) in zip(panels, measures.items(), strict=True):
            for place, one in enumerate(rows):
                is_mean = one.source is None
                color = INK if is_mean else COLORS[0]
                whisker(axes, place, one.difference.low, one.difference.high, color=color)
                axes.plot(one.difference.value, place, MARKERS[3 if is_mean else 0], color=color, markersize=5.5)
            axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            names = ["mean" if one.source is None else one.source or "(no name)" for one in rows]
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(measure)
            axes.grid(axis="x", color=INK, alpha=0.15)
        panels[-1].set_xlabel(f"{comparison.model} less {comparison.against}")
        svg = save(canvas, folder, "differences")
    return Plot(
        name="differences.png",
        svg=svg,
        alt=f"Differences of {comparison.model} from {comparison.against} by source, with confidence intervals. To the "
        f"right of the dotted line {comparison.model} is better.",
    )
