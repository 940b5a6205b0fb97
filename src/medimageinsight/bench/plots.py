"""The plot of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.bench.settings import BUNDLE
from medimageinsight.reports import new_figure, save_figure
from medimageinsight.reports.figure import INK

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.bench.results import Bench
    from medimageinsight.bench.timings import Result
    from medimageinsight.reports import Plot

_NAME = "speed"
_BUNDLE_COLOR, _BASELINE_COLOR = "#6fa8d6", "#d3dfe9"


def draw_plot(bench: Bench, folder: Path) -> Plot:
    """Write ``speed.png``: images or texts a second, one bar a candidate, whiskers of its slowest and fastest round.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    heights = [1.0 + len(result.timings) for result in bench.results]
    with new_figure(7, 0.6 + 0.42 * sum(heights), name=_NAME) as figure:
        all_axes = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
        for axes, result in zip(all_axes, bench.results, strict=True):
            _draw_case(axes, result)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", frameon=False)
        return save_figure(figure, folder, _NAME, alt="Images and texts a second")


def _draw_case(axes: Axes, result: Result) -> None:
    batch = result.case.batch
    for timing in result.timings:
        name = timing.candidate
        axes.barh(name, batch / timing.median, color=_BUNDLE_COLOR if name == BUNDLE else _BASELINE_COLOR, height=0.6)
        whisker = (batch / max(timing.samples), batch / timing.min)
        axes.plot(whisker, (name, name), color=INK, linewidth=2, solid_capstyle="butt")
    ceiling = batch * result.peak.flops_per_second / result.flops
    axes.axvline(ceiling, color=INK, linestyle="--", linewidth=1, label="at the machine's float32 peak")
    unit = "Images a second, batch" if result.case.encoder == "image" else "Texts a second,"
    axes.set_title(f"{unit} {result.case.label}")
    axes.set_xlim(left=0)
    axes.invert_yaxis()
