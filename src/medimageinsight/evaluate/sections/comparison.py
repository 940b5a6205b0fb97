"""Report sections that compare two models, and groups of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import figure_cell, source_name
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.comparison import Comparison, Difference
    from medimageinsight.reports.document import Block, Plot


def comparison_section(comparison: Comparison, plots: Sequence[Plot]) -> Section:
    """Return the means over sources, then one table per measure."""
    means = tuple(
        _row(difference, difference.measure) for difference in comparison.differences if difference.source is None
    )
    measures = dict.fromkeys(difference.measure for difference in comparison.differences)
    columns = (comparison.model, comparison.against, "Difference", "p", "Adjusted p")
    tables = [
        TableBlock(
            caption=measure,
            columns=("Source", *columns),
            rows=tuple(
                _row(difference, source_name(difference.source))
                for difference in comparison.differences
                if difference.measure == measure and difference.source is not None
            ),
            folded=index > 0,
        )
        for index, measure in enumerate(measures)
    ]
    return Section(
        title=f"Compared with {comparison.against}",
        blocks=(
            Paragraph(
                text=f"Difference: {comparison.model} less {comparison.against}, from the same resamples of patients "
                f"of both. p: share of {comparison.permutations:,} random swaps of the two models' results, all of a "
                "patient's together, with a difference at least as large. Adjusted p: by Holm's method for the means "
                "of all measures, and for the sources of a measure; below 0.05, the chance of even one false alarm "
                "among them is below 0.05."
            ),
            *([TableBlock(caption="Means over sources", columns=("Measure", *columns), rows=means)] if means else []),
            *plots,
            *tables,
        ),
    )


def groups_section(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Return the groups of every column, their differences from the other groups, and the gap of best and worst."""
    blocks: list[Block] = [*plots]
    for grouping in assessment.groups:
        rows = tuple(
            (
                group.name,
                f"{group.images:,}",
                str(group.sources),
                figure_cell(group.value),
                figure_cell(group.difference),
            )
            for group in grouping.groups
        )
        if rows:
            blocks.append(
                TableBlock(
                    caption=f"By {grouping.column}: {grouping.method}, {grouping.measure}. "
                    f"Gap {figure_cell(grouping.gap)}",
                    columns=("Group", "Images", "Sources", grouping.measure.capitalize(), "Less the other groups'"),
                    rows=rows,
                )
            )
    for column in dict.fromkeys(grouping.column for grouping in assessment.groups):
        first = next(grouping for grouping in assessment.groups if grouping.column == column)
        few = f"; {first.too_few} groups have fewer than ten patients in every source" if first.too_few else ""
        blocks.append(Paragraph(text=f"{column}: unknown for {first.unknown:,} scored images{few}."))
    if blocks:
        blocks.append(
            Paragraph(
                text="A group is compared with the other groups of the same source, and the mean is over sources. "
                "Within a source the mix of classes may differ between groups, which can make a gap or hide one. "
                "Sources where a group has fewer than ten patients are left out. The gap is the best group less the "
                "worst; chance makes one among several equal groups."
            )
        )
    return Section(title="By group", blocks=tuple(blocks))


def _row(difference: Difference, head: str) -> tuple[str, ...]:
    figure = difference.difference
    signed = f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"
    return (
        head,
        str(difference.model),
        str(difference.against),
        signed,
        f"{difference.p:.3f}",
        f"{difference.p_family:.3f}",
    )
