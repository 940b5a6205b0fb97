"""The report section on gaps in sensitivity and false-positive rate between groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.groups import MIN_PATIENTS
from medimageinsight.evaluate.results import TOO_FEW, figure_cell, source_name
from medimageinsight.metrics.intervals import MIN_POSITIVES
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.rate_gaps import RateGap
    from medimageinsight.reports.document import Block

GAP_COLUMNS = ("By", "Method", "Source", "Class", "Operating point", "Rate", "Highest", "Lowest", "Gap")


def rate_gaps_section(gaps: Sequence[RateGap]) -> Section:
    """Return the gaps of all columns, and the rates of their groups."""
    title = "Sensitivity and false positive rate by group"
    if not gaps:
        return Section(title=title, blocks=())
    blocks: list[Block] = [
        Paragraph(
            text="Rates at the operating points above, of each class against the rest. A sensitivity is of the images "
            "with the class, a false positive rate of those without it; a gap is the highest rate less the lowest, "
            "with the interval of this difference. Chance makes gaps among equal groups, the larger the more groups "
            "and classes are compared, and groups may differ in how hard their images are. Too few: fewer than "
            f"{MIN_POSITIVES} patients that the rate is of, or fewer than two groups with a rate. Groups of fewer "
            f"than {MIN_PATIENTS} patients are not named."
        )
    ]
    for column in dict.fromkeys(gap.column for gap in gaps):
        of_column = [gap for gap in gaps if gap.column == column]
        blocks.append(
            TableBlock(
                caption=f"Gaps by {column}",
                columns=GAP_COLUMNS,
                rows=tuple(gap_cells(gap) for gap in of_column),
                folded=True,
            )
        )
        rates = tuple(row for gap in of_column for row in _rate_rows(gap))
        if rates:
            blocks.append(
                TableBlock(
                    caption=f"Rates by {column}",
                    columns=(*GAP_COLUMNS[1:6], "Group", "Images", "Patients", "Value", "Less the other groups'"),
                    rows=rates,
                    folded=True,
                )
            )
    return Section(title=title, blocks=tuple(blocks))


def gap_cells(gap: RateGap) -> tuple[str, ...]:
    """Return the cells of `GAP_COLUMNS`."""
    return (gap.column, *_names(gap), gap.highest, gap.lowest, figure_cell(gap.gap, absent=TOO_FEW))


def _rate_rows(gap: RateGap) -> list[tuple[str, ...]]:
    return [
        (
            *_names(gap),
            group.name,
            f"{group.images:,}",
            f"{group.patients:,}",
            figure_cell(group.value, absent=TOO_FEW),
            figure_cell(group.difference, absent=TOO_FEW),
        )
        for group in gap.groups
    ]


def _names(gap: RateGap) -> tuple[str, ...]:
    return (gap.method, source_name(gap.source), gap.label, gap.criterion, gap.measure)
