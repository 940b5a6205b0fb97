"""The plots of an assessment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medimageinsight.reports.document import Plot
from medimageinsight.reports.figure import COLORS, DASHES, INK, MARKERS, new_canvas, save, whisker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    from medimageinsight.evaluate.assessment import Assessment, MethodAssessment, SourceAssessment
    from medimageinsight.evaluate.comparison import Comparison, Difference
    from medimageinsight.evaluate.groups import Grouping


NO_NAME = "(no name)"
_ACROSS = 3  # panels side by side
_MOST_IN_LEGEND = 8


def draw_methods(assessment: Assessment, folder: Path) -> Plot | None:
    """The mean AUC of every source by every method, with intervals."""
    methods = assessment.methods
    sources = list(dict.fromkeys(source for method in methods.values() for source in method.sources))
    if not any(one.figures.mean_auc for method in methods.values() for one in method.sources.values()):
        return None
    lowest = 0.5
    with new_canvas(7.2, 1.2 + 0.14 * len(sources) * (1 + len(methods)), name="methods") as canvas:
        axes = canvas.add_subplot()
        for place, (name, method) in enumerate(methods.items()):
            color, marker = COLORS[place], MARKERS[place]
            for row, source in enumerate(sources):
                found = method.sources.get(source)
                if found is None or found.figures.mean_auc is None:
                    continue
                auc = found.figures.mean_auc
                height = row + (place - (len(methods) - 1) / 2) * 0.22
                lowest = min(lowest, auc.low)
                whisker(axes, height, auc.low, auc.high, color=color)
                axes.plot(auc.value, height, marker, color=color, markersize=5.5)
            axes.plot([], [], marker, color=color, label=f"{name}, mean {method.mean_auc or '–'}")
        axes.set_yticks(range(len(sources)), [source or NO_NAME for source in sources])
        axes.set_ylim(len(sources) - 0.5, -0.5)
        axes.set_xlim(math.floor(20 * lowest) / 20, 1.012)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("mean one-against-rest AUC; 0.5 is chance")
        axes.grid(axis="x", color=INK, alpha=0.15)
        canvas.legend(loc="outside lower center", ncols=1)
        svg = save(canvas, folder, "methods")
    return Plot(
        name="methods.png",
        svg=svg,
        alt=f"Mean AUC of each source by {', '.join(methods)}, with confidence intervals. The means in the legend are "
        "over the same sources.",
    )


def draw_roc(name: str, method: MethodAssessment, folder: Path) -> Plot | None:
    """ROC curves of every source, with the operating points that the split for choosing gave."""
    sources = {source: one for source, one in method.sources.items() if one.roc}
    if not sources:
        return None
    file = "roc_" + name.lower().replace(" ", "_").replace("-", "_")
    across = min(_ACROSS, len(sources))
    down = math.ceil(len(sources) / across)
    with new_canvas(3.1 * across, 3.25 * down, name=file) as canvas:
        panels = canvas.subplots(down, across, squeeze=False).ravel()
        for axes, (source, one) in zip(panels, sources.items(), strict=False):
            _draw_roc_panel(axes, source, one)
        for axes in panels[len(sources) :]:
            axes.set_visible(False)
        canvas.supxlabel("1 - specificity", fontsize=9)
        canvas.supylabel("sensitivity", fontsize=9)
        svg = save(canvas, folder, file)
    return Plot(
        name=f"{file}.png",
        svg=svg,
        alt=f"ROC curves of {name} on the scored split, one panel a source and one line a class. Circles are Youden's "
        "thresholds and squares those of a least sensitivity, both chosen on the split for choosing.",
    )


def _draw_roc_panel(axes: Axes, source: str, one: SourceAssessment) -> None:
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
    points = one.operating.points if one.operating else ()
    for place, (label, corners) in enumerate(one.roc.items()):
        color, dash = COLORS[place % len(COLORS)], DASHES[place // len(COLORS) % len(DASHES)]
        shown = label if len(label) <= 18 else f"{label[:17]}…"
        x, y = zip(*corners, strict=True)
        axes.plot(x, y, color=color, linestyle=dash, linewidth=1.3, label=shown if place < _MOST_IN_LEGEND else None)
        for point in points:
            if point.label == label:
                marker = "o" if point.criterion == "youden" else "s"
                axes.plot(
                    point.false_positive_rate, point.sensitivity.value, marker, color=color, markersize=4, alpha=0.9
                )
    axes.set(title=source or NO_NAME, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks((0, 0.5, 1))
    axes.set_yticks((0, 0.5, 1))
    axes.legend(loc="lower right", fontsize=6.5, handlelength=1.6, borderpad=0.1, labelspacing=0.25)


def draw_reliability(methods: Mapping[str, MethodAssessment], folder: Path) -> Plot | None:
    """How often each method is right at each confidence, over the sources of its mean together."""
    shown = {name: method for name, method in methods.items() if method.reliability}
    if not shown:
        return None
    with new_canvas(3.1 * len(shown), 3.9, name="reliability") as canvas:
        panels = canvas.subplots(2, len(shown), squeeze=False, sharex=True, height_ratios=(3.2, 1))
        for place, (name, method) in enumerate(shown.items()):
            upper, lower = panels[:, place]
            upper.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
            for one in method.reliability:
                upper.plot(
                    (one.confidence, one.confidence),
                    (one.right.low, one.right.high),
                    color=COLORS[place],
                    linewidth=1.6,
                    solid_capstyle="butt",
                )
                upper.plot(one.confidence, one.right.value, MARKERS[place], color=COLORS[place], markersize=5.5)
                lower.bar((one.low + one.high) / 2, one.count, width=0.085, color=COLORS[place])
            error = "–" if method.calibration_error is None else f"{method.calibration_error.value:.3f}"
            upper.set(title=f"{name}: error {error}", xlim=(0, 1), ylim=(-0.02, 1.02))
            lower.set_xlabel("confidence")
        panels[0, 0].set_ylabel("share that is right")
        panels[1, 0].set_ylabel("pictures")
        svg = save(canvas, folder, "reliability")
    return Plot(
        name="reliability.png",
        svg=svg,
        alt="Reliability: the share of right pictures against the confidence, in ten bins, with intervals, and below "
        "it how many pictures each bin holds. On the dotted line a method is as sure as it is right.",
    )


def draw_groups(groupings: tuple[Grouping, ...], folder: Path) -> list[Plot]:
    """One plot a column: each group's mean AUC by every method."""
    columns = list(dict.fromkeys(one.column for one in groupings))
    plots = (
        _draw_grouping([one for one in groupings if one.column == column and one.measure == "mean AUC"], place, folder)
        for place, column in enumerate(columns)
    )
    return [plot for plot in plots if plot is not None]


def _draw_grouping(groupings: list[Grouping], number: int, folder: Path) -> Plot | None:
    names = list(dict.fromkeys(group.name for grouping in groupings for group in grouping.groups))
    if not names:
        return None
    column, file = groupings[0].column, f"groups_{number + 1}"
    with new_canvas(7.2, 1.3 + 0.14 * len(names) * (1 + len(groupings)), name=file) as canvas:
        axes = canvas.add_subplot()
        for place, grouping in enumerate(groupings):
            for group in grouping.groups:
                if group.value is None:
                    continue
                height = names.index(group.name) + (place - (len(groupings) - 1) / 2) * 0.22
                whisker(axes, height, group.value.low, group.value.high, color=COLORS[place])
                axes.plot(group.value.value, height, MARKERS[place], color=COLORS[place], markersize=5.5)
            label = grouping.method if grouping.gap is None else f"{grouping.method}, gap {grouping.gap}"
            axes.plot([], [], MARKERS[place], color=COLORS[place], label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("mean one-against-rest AUC")
        axes.set_title(f"By {column}")
        axes.grid(axis="x", color=INK, alpha=0.15)
        canvas.legend(loc="outside lower center", ncols=1)
        svg = save(canvas, folder, file)
    return Plot(name=f"{file}.png", svg=svg, alt=f"Mean AUC by {column}, with confidence intervals.")


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
