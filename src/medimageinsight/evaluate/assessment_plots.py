"""The plots of an assessment; each function writes a PNG and returns None if there is nothing to draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medimageinsight.evaluate.figures import source_name
from medimageinsight.evaluate.sections.cells import DASH
from medimageinsight.reports.document import Plot
from medimageinsight.reports.figure import COLORS, DASHES, INK, MARKERS, draw_interval, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.evaluate.assessment import Assessment, MethodAssessment, SourceAssessment
    from medimageinsight.evaluate.comparison import Comparison, Difference
    from medimageinsight.evaluate.figures import Report
    from medimageinsight.evaluate.groups import Grouping


_PANELS_PER_ROW = 3
_MAX_LEGEND_ENTRIES = 8
_METHOD_SPACING = 0.22  # between the methods of one row, in rows
_BAR_COLOR = "#6fa8d6"


def draw_methods(assessment: Assessment, folder: Path) -> Plot | None:
    """Draw the mean AUC of every source by every method, with intervals."""
    methods = assessment.methods
    sources = list(dict.fromkeys(source for method in methods.values() for source in method.sources))
    if not any(source.figures.mean_auc for method in methods.values() for source in method.sources.values()):
        return None
    lowest = 0.5
    with new_figure(7.2, 1.2 + 0.14 * len(sources) * (1 + len(methods)), name="methods") as figure:
        axes = figure.add_subplot()
        for index, (name, method) in enumerate(methods.items()):
            for row, source in enumerate(sources):
                auc = method.sources[source].figures.mean_auc if source in method.sources else None
                if auc is None:
                    continue
                lowest = min(lowest, auc.low)
                y = row + (index - (len(methods) - 1) / 2) * _METHOD_SPACING
                draw_interval(axes, y, auc.low, auc.high, color=COLORS[index])
                axes.plot(auc.value, y, MARKERS[index], color=COLORS[index], markersize=5.5)
            label = f"{name}, mean {method.mean_auc or DASH}"
            axes.plot([], [], MARKERS[index], color=COLORS[index], label=label)
        axes.set_yticks(range(len(sources)), [source_name(source) for source in sources])
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.set_xlim(math.floor(20 * lowest) / 20, 1.012)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("mean one-vs-rest AUC; 0.5 is chance")
        axes.grid(axis="x", color=INK, alpha=0.15)
        figure.legend(loc="outside lower center", ncols=1)
        svg = save_figure(figure, folder, "methods")
    return Plot(
        name="methods.png",
        svg=svg,
        alt=f"Mean AUC of each source by {', '.join(methods)}, with confidence intervals. The means in the legend are "
        "over the same sources.",
    )


def draw_precision(report: Report, folder: Path) -> Plot | None:
    """Draw the image-to-image precision of every source as a bar with its interval, and the mean as a dashed line."""
    if report.precision_at_k is None:
        return None
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
        svg = save_figure(figure, folder, "precision")
    alt = f"{title}, by the source of the query, with confidence intervals."
    return Plot(name="precision.png", svg=svg, alt=alt)


def draw_roc(name: str, method: MethodAssessment, folder: Path) -> Plot | None:
    """Draw the ROC curves of every source, with the operating points chosen on the validation split."""
    sources = {source: of_source for source, of_source in method.sources.items() if of_source.roc}
    if not sources:
        return None
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
        svg = save_figure(figure, folder, file)
    return Plot(
        name=f"{file}.png",
        svg=svg,
        alt=f"ROC curves of {name} on the scored split, one panel per source and one line per class. Circles are "
        "Youden's thresholds and squares those with at least a given sensitivity, both chosen on the validation split.",
    )


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


def draw_reliability(methods: Mapping[str, MethodAssessment], folder: Path) -> Plot | None:
    """Draw the accuracy of each method against its confidence, over the sources of its mean together."""
    drawn = {name: method for name, method in methods.items() if method.reliability}
    if not drawn:
        return None
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
        svg = save_figure(figure, folder, "reliability")
    return Plot(
        name="reliability.png",
        svg=svg,
        alt="Reliability: accuracy against confidence, in ten bins, with intervals, and below it the number of "
        "images in each bin. On the dotted line a method is calibrated.",
    )


def draw_groups(groupings: tuple[Grouping, ...], folder: Path) -> list[Plot]:
    """Draw one plot per column: each group's mean AUC by every method."""
    columns = list(dict.fromkeys(grouping.column for grouping in groupings))
    plots = []
    for number, column in enumerate(columns, 1):
        of_column = [grouping for grouping in groupings if grouping.column == column and grouping.measure == "mean AUC"]
        plots.append(_draw_grouping(of_column, f"groups_{number}", folder))
    return [plot for plot in plots if plot is not None]


def _draw_grouping(groupings: list[Grouping], file: str, folder: Path) -> Plot | None:
    names = list(dict.fromkeys(group.name for grouping in groupings for group in grouping.groups))
    if not names:
        return None
    column = groupings[0].column
    with new_figure(7.2, 1.3 + 0.14 * len(names) * (1 + len(groupings)), name=file) as figure:
        axes = figure.add_subplot()
        for index, grouping in enumerate(groupings):
            for group in grouping.groups:
                if group.value is None:
                    continue
                y = names.index(group.name) + (index - (len(groupings) - 1) / 2) * _METHOD_SPACING
                draw_interval(axes, y, group.value.low, group.value.high, color=COLORS[index])
                axes.plot(group.value.value, y, MARKERS[index], color=COLORS[index], markersize=5.5)
            label = grouping.method if grouping.gap is None else f"{grouping.method}, gap {grouping.gap}"
            axes.plot([], [], MARKERS[index], color=COLORS[index], label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("mean one-vs-rest AUC")
        axes.set_title(f"By {column}")
        axes.grid(axis="x", color=INK, alpha=0.15)
        figure.legend(loc="outside lower center", ncols=1)
        svg = save_figure(figure, folder, file)
    return Plot(name=f"{file}.png", svg=svg, alt=f"Mean AUC by {column}, with confidence intervals.")


def draw_differences(comparison: Comparison, folder: Path) -> Plot | None:
    """Draw the differences in AUC and retrieval by source; right of the line the first model is better."""
    measures: dict[str, list[Difference]] = {}
    for difference in comparison.differences:
        if not difference.measure.endswith("accuracy"):
            measures.setdefault(difference.measure, []).append(difference)
    if not measures:
        return None
    heights = [0.9 + 0.24 * len(rows) for rows in measures.values()]
    with new_figure(7.2, 0.5 + sum(heights), name="differences") as figure:
        panels = figure.subplots(len(measures), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (measure, rows) in zip(panels, measures.items(), strict=True):
            for y, row in enumerate(rows):
                color, marker = (INK, MARKERS[3]) if row.source is None else (COLORS[0], MARKERS[0])
                draw_interval(axes, y, row.difference.low, row.difference.high, color=color)
                axes.plot(row.difference.value, y, marker, color=color, markersize=5.5)
            axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
            names = ["mean" if row.source is None else source_name(row.source) for row in rows]
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(measure)
            axes.grid(axis="x", color=INK, alpha=0.15)
        panels[-1].set_xlabel(f"{comparison.model} less {comparison.against}")
        svg = save_figure(figure, folder, "differences")
    return Plot(
        name="differences.png",
        svg=svg,
        alt=f"Differences between {comparison.model} and {comparison.against} by source, with confidence intervals. "
        f"Right of the dotted line {comparison.model} is better.",
    )
