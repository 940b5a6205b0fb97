"""The part of a report that sets two models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.comparison import Comparison, Difference
    from medimageinsight.reports.document import Plot


def comparison_section(comparison: Comparison, plots: Sequence[Plot]) -> Section:
    """Means first, then one table a measure."""
    means = tuple(_row(one, one.measure) for one in comparison.differences if one.source is None)
    measures = dict.fromkeys(one.measure for one in comparison.differences)
    columns = (comparison.model, comparison.against, "Difference", "p")
    tables = [
        TableBlock(
            caption=measure,
            columns=("Source", *columns, "p of the family"),
            rows=tuple(
                (*_row(one, one.source or "(no name)"), _p(one.p_family))
                for one in comparison.differences
                if one.measure == measure and one.source is not None
            ),
            folded=place > 0,
        )
        for place, measure in enumerate(measures)
    ]
    return Section(
        title=f"Beside {comparison.against}",
        blocks=(
            Paragraph(
                text=f"Difference: {comparison.model} less {comparison.against}, from the same resamples of patients "
                f"of both. p: how often {comparison.permutations:,} random swaps of the two models' results, a "
                "patient's all together, gave a difference as large. Of the sources of a measure, p of the family is "
                "Holm's: below 0.05, even one false alarm among them is that rare."
            ),
            *([TableBlock(caption="Means over sources", columns=("Measure", *columns), rows=means)] if means else []),
            *plots,
            *tables,
        ),
    )


def _row(one: Difference, head: str) -> tuple[str, ...]:
    difference = one.difference
    signed = f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
    return (head, str(one.model), str(one.against), signed, _p(one.p))


def _p(p: float | None) -> str:
    return "–" if p is None else f"{p:.3f}"
