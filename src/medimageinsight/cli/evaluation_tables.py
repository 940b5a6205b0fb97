"""The tables that ``mi2 evaluate`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.cli import output
from medimageinsight.cli.results import format_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate import AssessedModels, RateGap, Report, SourceFigures

_MAX_GAPS = 12  # rows of a table on a terminal


def print_report(report: Report) -> None:
    """Print the figures over all sources, those of each source, the prompts and warnings."""
    k = report.settings.neighbours
    overall = [
        ("modality of the best prompt", report.modality_accuracy),
        ("modality and anatomy of the best prompt", report.anatomy_accuracy),
        (f"mean AUC of findings (sources: {len(report.finding_sources)})", report.mean_auc),
        (f"image to image, precision at {k}", report.precision_at_k),
        *((f"image to text, recall at {at}", figure) for at, figure in report.image_to_text.items()),
        *((f"text to image, recall at {at}", figure) for at, figure in report.text_to_image.items()),
    ]
    output.print_table(
        ("figure", "value", "95 % interval"),
        [(name, *format_figure(figure)) for name, figure in overall],
        title=f"{report.model} on {report.images:,} images, {report.patients_phrase}",
    )
    output.print_table(
        (
            *("source", "images", "mean AUC", "95 % interval", "mean average precision", "95 % interval"),
            *(f"precision at {k}", "95 % interval"),
        ),
        [
            (
                output.printable(name),
                f"{source.images:,}",
                *_format_mean(source, "mean_auc"),
                *_format_mean(source, "mean_average_precision"),
                *format_figure(source.precision_at_k),
            )
            for name, source in report.sources.items()
        ],
        title=f"by source, {report.patients_phrase}",
    )
    output.note(f"prompts: {report.prompt_source}")
    for warning in report.warnings:
        output.note(f"warning: {warning}")


def _format_mean(source: SourceFigures, attribute: str) -> tuple[str, str]:
    if source.findings is None:
        return format_figure(None)
    figure = getattr(source.findings, attribute)
    return format_figure(figure, absent="too few" if source.findings.too_few else "–")


def print_assessed(result: AssessedModels) -> None:
    """Print the report, the methods, the gaps between groups, notes, and the comparison of two models."""
    from medimageinsight.evaluate import methods_table

    assessment = result.assessment
    print_report(assessment.report)
    table = methods_table(assessment)
    columns = tuple(column[0].lower() + column[1:] for column in table.columns)
    output.print_table(columns, table.rows, title=f"{table.caption}, {assessment.report.patients_phrase}")
    gaps = [
        (
            output.printable(grouping.column),
            grouping.method,
            grouping.measure,
            str(len(grouping.groups)),
            str(grouping.gap),
        )
        for grouping in assessment.groups
        if grouping.gap is not None
    ]
    if gaps:
        output.print_table(("by", "method", "measure", "groups", "gap"), gaps)
    print_rate_gaps(assessment.rate_gaps)
    for note in assessment.notes:
        output.note(note)
    if result.comparison is not None:
        output.print_table(
            ("measure", result.comparison.model, result.comparison.against, "difference", "p", "adjusted p"),
            [
                (
                    row.measure,
                    str(row.model),
                    str(row.against),
                    str(row.difference),
                    f"{row.p:.3f}",
                    f"{row.p_family:.3f}",
                )
                for row in result.comparison.differences
                if row.source is None
            ],
            title="Means over sources",
        )


def print_rate_gaps(gaps: Sequence[RateGap]) -> None:
    """Print the largest gaps in sensitivity and false-positive rate at the first operating point."""
    if not gaps:
        return
    criterion = gaps[0].criterion
    chosen = [gap for gap in gaps if gap.criterion == criterion]
    known = [gap for gap in chosen if gap.gap is not None]
    known.sort(key=lambda gap: -gap.gap.value if gap.gap else 0.0)
    has_sources = any(gap.source for gap in known)
    rows = [
        (
            output.printable(gap.column),
            gap.method,
            *([output.printable(gap.source)] if has_sources else []),
            output.printable(gap.label),
            gap.measure,
            output.printable(gap.highest),
            output.printable(gap.lowest),
            str(gap.gap),
        )
        for gap in known[:_MAX_GAPS]
    ]
    if rows:
        output.print_table(
            ("by", "method", *(["source"] if has_sources else []), "class", "rate", "highest", "lowest", "gap"),
            rows,
            title=f"Gaps between groups, largest first, at the operating point {criterion}",
        )
    if len(known) > len(rows):
        output.note(f"{len(known) - len(rows):,} smaller gaps are in the JSON and in the report")
    if len(chosen) > len(known):
        output.note(f"{len(chosen) - len(known):,} gaps cannot be given: too few patients in all but one group")
