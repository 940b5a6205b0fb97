"""Plots of a report, as PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.reports.document import Plot
from medimageinsight.reports.figure import INK, new_canvas, save

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medimageinsight.evaluate.figures import Report
    from medimageinsight.metrics.bootstrap import Figure

MEAN_AUC_NAME = "mean_auc.png"
PRECISION_NAME = "precision.png"
_COUNTED, _OTHER = "#6fa8d6", "#b9c9d8"


def draw_plots(report: Report, folder: Path) -> list[str]:
    """Writes ``mean_auc.png`` and ``precision.png``, one bar a source with its confidence interval.

    Returns:
        The names of the files; one without figures is not written.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn = []
    if report.mean_auc is not None:
        aucs = {name: source.findings.mean_auc for name, source in report.sources.items() if source.findings}
        title = "Mean one-against-rest AUC of findings"
        _bars(aucs, title, folder, MEAN_AUC_NAME, mean=report.mean_auc, counted=report.finding_sources, start=0.5)
        drawn.append(MEAN_AUC_NAME)
    if draw_precision(report, folder) is not None:
        drawn.append(PRECISION_NAME)
    return drawn


def draw_precision(report: Report, folder: Path) -> Plot | None:
    """Writes ``precision.png``; None where there is nothing to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if report.precision_at_k is None:
        return None
    precisions = {name: source.precision_at_k for name, source in report.sources.items() if source.precision_at_k}
    title = f"Image to image, precision at {report.settings.neighbours}"
    svg = _bars(
        precisions, title, folder, PRECISION_NAME, mean=report.precision_at_k, counted=tuple(precisions), start=0.0
    )
    return Plot(name=PRECISION_NAME, svg=svg, alt=f"{title}, by the source of the query, with confidence intervals.")


def _bars(
    figures: Mapping[str, Figure],
    title: str,
    folder: Path,
    file: str,
    *,
    mean: Figure,
    counted: tuple[str, ...],
    start: float,
) -> str:
    """Horizontal bars from ``start`` with whiskers, pale where a source is not counted in the dashed mean; the SVG."""
    name = file.removesuffix(".png")
    with new_canvas(7, 1.2 + 0.38 * len(figures), name=name) as canvas:
        axes = canvas.add_subplot()
        for source, figure in figures.items():
            color = _COUNTED if source in counted else _OTHER
            shown = source or "(no name)"
            axes.barh(shown, figure.value - start, left=start, color=color, height=0.6)
            axes.plot((figure.low, figure.high), (shown, shown), color=INK, linewidth=2, solid_capstyle="butt")
        axes.axvline(mean.value, color=INK, linestyle="--", linewidth=1, label=f"mean {mean}")
        axes.set_title(title)
        axes.set_xlim(min(start, *(figure.low for figure in figures.values())), 1.0)
        axes.invert_yaxis()
        canvas.legend(loc="outside lower center")
        return save(canvas, folder, name)
