"""The report section on groups of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.sections.cells import figure_cell
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.reports.document import Block, Plot


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
