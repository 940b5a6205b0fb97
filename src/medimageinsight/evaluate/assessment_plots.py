"""The plots of an assessment; each function writes PNGs and returns an empty list if there is nothing to draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import DASH, source_name
from medimageinsight.reports.figure import COLORS, DASHES, INK, MARKERS, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.evaluate.assessment import Assessment, MethodAssessment, SourceAssessment
    from medimageinsight.evaluate.comparison import Comparison, Difference
    from medimageinsight.evaluate.groups import Grouping
    from medimageinsight.evaluate.results import Report
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.reports.document import Plot

_PANELS_PER_ROW = 3
_MAX_LEGEND_ENTRIES = 8
_METHOD_SPACING = 0.22  # between the methods of one row, in rows
_BAR_COLOR = "#6fa8d6"


def draw_methods(assessment: Assessment, folder: Path) -> list[Plot]:
    """Draw the mean AUC of every source by every method, with intervals."""
    sources = list(dict.fromkeys(source for method in assessment.methods.values() for source in method.sources))
    series: dict[str, list[Figure | None]] = {}
    for name, method in assessment.methods.items():
        found = [method.sources.get(source) for source in sources]
        label = f"{name}, mean {method.mean_auc or DASH}"
        series[label] = [None if source is None else source.figures.mean_auc for source in found]
    low = [auc.low for aucs in series.values() for auc in aucs if auc is not None]
    if not low:
        return []
    with new_figure(7.2, 1.2 + 0.14 * len(sources) * (1 + len(series)), name="methods") as figure:
        axes = figure.add_subplot()
        draw_series(axes, [source_name(source) for source in sources], series)
        axes.set_xlim(math.floor(20 * min(0.5, *low)) / 20, 1.012)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("mean one-vs-rest AUC; 0.5 is chance")
        figure.legend(loc="outside lower center", ncols=1)
        alt = (
            f"Mean AUC of each source by {', '.join(assessment.methods)}, with confidence intervals. The means in "
            "the legend are over the same sources."
        )
        return [save_figure(figure, folder, "methods", alt=alt)]


def draw_precision(report: Report, folder: Path) -> list[Plot]:
    """Draw the image-to-image precision of every source as a bar with its interval, and the mean as a dashed line."""
    if report.precision_at_k is None:
        return []
    precisions = {name: source.precision_at_k for name, source in report.sources.items() if source.precision_at_k}
    title = f"Image to image, precision at {report.settings.neighbours}"
    with new_figure(7, 1.2 + 0.38 * len(precisions), name="precision") as figure:
        axes = figure.add_subplot()
        for source, precision in precisions.items():
            name = source_name(source)
            axes.barh(name, precision.value, color=_BAR_COLOR, height=0.6)
            axes.plot((precision.low, precision.high), (name, name), color=INK, linewidth=2, solid_capstyle="butt")
        mean = report.precision_at_k
        axes.axvline(mean.value, color=INK, linestyle="--", linewidth=1, label=f"mean {mean}")
        axes.set_title(title)
        axes.set_xlim(0.0, 1.0)
        axes.invert_yaxis()
        figure.legend(loc="outside lower center")
        alt = f"{title}, by the source of the query, with confidence intervals."
        return [save_figure(figure, folder, "precision", alt=alt)]


def draw_roc(name: str, method: MethodAssessment, folder: Path) -> list[Plot]:
    """Draw the ROC curves of every source, with the operating points chosen on the validation split."""
    sources = {source: of_source for source, of_source in method.sources.items() if of_source.roc}
    if not sources:
        return []
    file = "roc_" + name.lower().replace(" ", "_").replace("-", "_")
    columns = min(_PANELS_PER_ROW, len(sources))
    rows = math.ceil(len(sources) / columns)
    with new_figure(3.1 * columns, 3.25 * rows, name=file) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (source, of_source) in zip(panels, sources.items(), strict=False):
            _draw_roc_panel(axes, source, of_source)
        for axes in panels[len(sources) :]:
            axes.set_visible(False)
        figure.supxlabel("1 - specificity", fontsize=9)
        figure.supylabel("sensitivity", fontsize=9)
        alt = (
            f"ROC curves of {name} on the scored split, one panel per source and one line per class. Circles are "
            "Youden's thresholds and squares those with at least a given sensitivity, both chosen on the validation "
            "split."
        )
        return [save_figure(figure, folder, file, alt=alt)]


def _draw_roc_panel(axes: Axes, source: str, of_source: SourceAssessment) -> None:
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
    points = of_source.operating.points if of_source.operating else ()
    for index, (label, corners) in enumerate(of_source.roc.items()):
        color, dash = COLORS[index % len(COLORS)], DASHES[index // len(COLORS) % len(DASHES)]
        short = label if len(label) <= 18 else f"{label[:17]}…"
        x, y = zip(*corners, strict=True)
        legend = short if index < _MAX_LEGEND_ENTRIES else None
        axes.plot(x, y, color=color, linestyle=dash, linewidth=1.3, label=legend)
        for point in points:
            if point.label == label:
                marker = "o" if point.criterion == "youden" else "s"
                axes.plot(
                    point.false_positive_rate, point.sensitivity.value, marker, color=color, markersize=4, alpha=0.9
                )
    axes.set(title=source_name(source), xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks((0, 0.5, 1))
    axes.set_yticks((0, 0.5, 1))
    axes.legend(loc="lower right", fontsize=6.5, handlelength=1.6, borderpad=0.1, labelspacing=0.25)


def draw_reliability(methods: Mapping[str, MethodAssessment], folder: Path) -> list[Plot]:
    """Draw the accuracy of each method against its confidence, over the sources of its mean together."""
    drawn = {name: method for name, method in methods.items() if method.reliability}
    if not drawn:
        return []
    with new_figure(3.1 * len(drawn), 3.9, name="reliability") as figure:
        panels = figure.subplots(2, len(drawn), squeeze=False, sharex=True, height_ratios=(3.2, 1))
        for index, (name, method) in enumerate(drawn.items()):
            upper, lower = panels[:, index]
            color = COLORS[index]
            upper.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
            for bar in method.reliability:
                interval = (bar.right.low, bar.right.high)
                upper.plot(
                    (bar.confidence, bar.confidence), interval, color=color, linewidth=1.6, solid_capstyle="butt"
                )
                upper.plot(bar.confidence, bar.right.value, MARKERS[index], color=color, markersize=5.5)
                lower.bar((bar.low + bar.high) / 2, bar.count, width=0.085, color=color)
            error = DASH if method.calibration_error is None else f"{method.calibration_error.value:.3f}"
            upper.set(title=f"{name}: error {error}", xlim=(0, 1), ylim=(-0.02, 1.02))
            lower.set_xlabel("confidence")
        panels[0, 0].set_ylabel("accuracy")
        panels[1, 0].set_ylabel("images")
        alt = (
            "Reliability: accuracy against confidence, in ten bins, with intervals, and below it the number of "
            "images in each bin. On the dotted line a method is calibrated."
        )
        return [save_figure(figure, folder, "reliability", alt=alt)]


def draw_groups(groupings: tuple[Grouping, ...], folder: Path) -> list[Plot]:
    """Draw one plot per column: each group's mean AUC by every method."""
    by_column: dict[str, list[Grouping]] = {}
    for grouping in groupings:
        if grouping.measure == "mean AUC":
            by_column.setdefault(grouping.column, []).append(grouping)
    return [
        _draw_grouping(column, of_column, f"groups_{number}", folder)
        for number, (column, of_column) in enumerate(by_column.items(), 1)
        if any(grouping.groups for grouping in of_column)
    ]


def _draw_grouping(column: str, groupings: list[Grouping], file: str, folder: Path) -> Plot:
    names = list(dict.fromkeys(group.name for grouping in groupings for group in grouping.groups))
    series: dict[str, list[Figure | None]] = {}
    for grouping in groupings:
        label = grouping.method if grouping.gap is None else f"{grouping.method}, gap {grouping.gap}"
        values = {group.name: group.value for group in grouping.groups}
        series[label] = [values.get(name) for name in names]
    with new_figure(7.2, 1.3 + 0.14 * len(names) * (1 + len(series)), name=file) as figure:
        axes = figure.add_subplot()
        draw_series(axes, names, series)
        axes.set(title=f"By {column}", xlabel="mean one-vs-rest AUC")
        figure.legend(loc="outside lower center", ncols=1)
        return save_figure(figure, folder, file, alt=f"Mean AUC by {column}, with confidence intervals.")


def draw_differences(comparison: Comparison, folder: Path) -> list[Plot]:
    """Draw the differences in AUC and retrieval by source; right of the line the first model is better."""
    measures: dict[str, list[Difference]] = {}
    for difference in comparison.differences:
        if not difference.measure.endswith("accuracy"):
            measures.setdefault(difference.measure, []).append(difference)
    if not measures:
        return []
    heights = [0.9 + 0.24 * len(rows) for rows in measures.values()]
    with new_figure(7.2, 0.5 + sum(heights), name="differences") as figure:
        panels = figure.subplots(len(measures), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (measure, rows) in zip(panels, measures.items(), strict=True):
            for y, row in enumerate(rows):
                color, marker = (INK, MARKERS[3]) if row.source is None else (COLORS[0], MARKERS[0])
                _draw_point(axes, y, row.difference, marker, color)
            axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            names = ["mean" if row.source is None else source_name(row.source) for row in rows]
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(measure)
            axes.grid(axis="x", color=INK, alpha=0.15)
        panels[-1].set_xlabel(f"{comparison.model} less {comparison.against}")
        alt = (
            f"Differences between {comparison.model} and {comparison.against} by source, with confidence "
            f"intervals. Right of the dotted line {comparison.model} is better."
        )
        return [save_figure(figure, folder, "differences", alt=alt)]


def draw_series(axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[Figure | None]]) -> None:
    """Draw a row per name, the first at the top, with a point of each series; ``series`` has a value for each name."""
    for index, (label, values) in enumerate(series.items()):
        for row, value in enumerate(values):
            if value is not None:
                y = row + (index - (len(series) - 1) / 2) * _METHOD_SPACING
                _draw_point(axes, y, value, MARKERS[index], COLORS[index])
        axes.plot([], [], MARKERS[index], color=COLORS[index], label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=INK, alpha=0.15)


def _draw_point(axes: Axes, y: float, value: Figure, marker: str, color: str) -> None:
    """Draw a value with its interval in one row."""
    axes.plot((value.low, value.high), (y, y), linewidth=1.6, solid_capstyle="butt", color=color)
    axes.plot(value.value, y, marker, color=color, markersize=5.5)
