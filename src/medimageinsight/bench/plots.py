"""The plot of a run, as a PNG file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.bench.figures import BUNDLE
from medimageinsight.errors import missing_extra

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.bench.figures import Bench, Result

PLOT_NAME = "speed.png"
_BUNDLE, _OTHER, _INK = "#6fa8d6", "#d3dfe9", "#333333"


def draw_plot(bench: Bench, path: Path) -> None:
    """Images or texts a second in each case, one bar a candidate; whiskers are the slowest and the fastest round.

    Made without pyplot, which keeps global state and may look for a display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise missing_extra("evaluate", "drawing a report's plots") from error
    heights = [1.0 + len(result.timings) for result in bench.results]
    canvas = Canvas(figsize=(7, 0.6 + 0.42 * sum(heights)), layout="constrained")
    FigureCanvasAgg(canvas)
    for axes, result in zip(
        canvas.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0], bench.results, strict=True
    ):
        _draw_case(axes, result)
    handles, labels = canvas.axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", frameon=False)
    canvas.savefig(path, dpi=144)


def _draw_case(axes: Axes, result: Result) -> None:
    batch = result.case.batch
    for timing in result.timings:
        name = timing.candidate
        axes.barh(name, batch / timing.median, color=_BUNDLE if name == BUNDLE else _OTHER, height=0.6)
        whiskers = (batch / max(timing.samples), batch / timing.min)
        axes.plot(whiskers, (name, name), color=_INK, linewidth=2, solid_capstyle="butt")
    ceiling = batch * result.peak.flops_per_second / result.flops
    axes.axvline(ceiling, color=_INK, linestyle="--", linewidth=1, label="at the machine's float32 peak")
    unit = "Images a second, batch" if result.case.side == "image" else "Texts a second,"
    axes.set_title(f"{unit} {result.case.label}")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
