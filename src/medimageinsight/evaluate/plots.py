"""Plots of a report, as PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure as Canvas

    from medimageinsight.evaluate.figures import Figure, Report

MEAN_AUC_NAME = "mean_auc.png"
PRECISION_NAME = "precision.png"
_COUNTED, _OTHER, _INK = "#6fa8d6", "#d3dfe9", "#333333"


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
        canvas = _bars(aucs, title, mean=report.mean_auc, counted=report.finding_sources, start=0.5)
        canvas.savefig(folder / MEAN_AUC_NAME, dpi=144)
        drawn.append(MEAN_AUC_NAME)
    if report.precision_at_k is not None:
        precisions = {name: source.precision_at_k for name, source in report.sources.items() if source.precision_at_k}
        title = f"Image to image, precision at {report.settings.neighbours}"
        canvas = _bars(precisions, title, mean=report.precision_at_k, counted=tuple(precisions), start=0.0)
        canvas.savefig(folder / PRECISION_NAME, dpi=144)
        drawn.append(PRECISION_NAME)
    return drawn


def _bars(figures: Mapping[str, Figure], title: str, *, mean: Figure, counted: tuple[str, ...], start: float) -> Canvas:
    """Horizontal bars from ``start`` with whiskers, pale where a source is not counted in the dashed mean.

    Made without pyplot, which keeps global state and may look for a display.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise missing_extra("evaluate", "drawing a report's plots") from error
    canvas = Canvas(figsize=(7, 1.2 + 0.38 * len(figures)), layout="constrained")
    axes = canvas.add_subplot()
    for name, figure in figures.items():
        color = _COUNTED if name in counted else _OTHER
        axes.barh(name, figure.value - start, left=start, color=color, height=0.6)
        axes.plot((figure.low, figure.high), (name, name), color=_INK, linewidth=2, solid_capstyle="butt")
    axes.axvline(mean.value, color=_INK, linestyle="--", linewidth=1, label=f"mean {mean}")
    axes.set_title(title)
    axes.set_xlim(min(start, *(figure.low for figure in figures.values())), 1.0)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    canvas.legend(loc="outside lower center", frameon=False)
    return canvas
