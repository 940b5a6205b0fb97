"""Report sections on the figures over all sources, the choices, retrieval, and the command that repeats it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import figure_cell, source_name
from medimageinsight.reports.document import Listing, Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.results import Report
    from medimageinsight.reports.document import Block, Plot

RETRIEVAL_NOTE = (
    "Image to image: the neighbours are the other patients' images of the same split, of all sources. Images of the "
    "same source and label are relevant; captions are averaged by label."
)


def summary_section(assessment: Assessment) -> Section:
    """Return the figures over all sources and the methods compared."""
    overall = TableBlock(
        caption="Zero-shot and retrieval",
        columns=("Figure", "Value", "Count"),
        rows=tuple(overall_rows(assessment.report)),
    )
    return Section(title="Summary", blocks=(overall, methods_table(assessment)))


def overall_rows(report: Report) -> list[tuple[str, ...]]:
    """Return name, value and count of each figure over all sources."""
    k = report.settings.neighbours
    rows = [
        ("Modality of the best prompt is right", report.modality_accuracy, "images"),
        ("Modality and anatomy of the best prompt are right", report.anatomy_accuracy, "images"),
        ("Mean one-vs-rest AUC of findings", report.mean_auc, "sources"),
        (f"Image to image, precision at {k}", report.precision_at_k, "images"),
        *((f"Image to text, recall at {at}", figure, "images") for at, figure in report.image_to_text.items()),
        *((f"Text to image, recall at {at}", figure, "labels") for at, figure in report.text_to_image.items()),
        (f"Text to image, precision at {k}", report.text_to_image_precision, "labels"),
    ]
    return [(name, str(figure), f"{figure.count:,} {unit}") for name, figure, unit in rows if figure is not None]


def methods_table(assessment: Assessment) -> TableBlock:
    """Return one row per method: the means over the same sources."""
    return TableBlock(
        caption="By method, mean over the same sources",
        columns=("Method", "Mean AUC", "Accuracy", "Calibration error", "Sources"),
        rows=tuple(
            (
                name,
                figure_cell(method.mean_auc),
                figure_cell(method.accuracy),
                figure_cell(method.calibration_error),
                str(len(method.averaged)),
            )
            for name, method in assessment.methods.items()
        ),
    )


def choices_section(assessment: Assessment) -> Section:
    """Return every choice with its rule and its split, and what was left out."""
    settings = assessment.settings
    rows = tuple((choice.what, choice.value, choice.how, choice.made_on) for choice in assessment.choices)
    common = tuple(row for row in rows if not row[0].startswith(("kNN,", "linear probe,")))
    columns = ("Choice", "Value", "How", "Made on")
    scored = settings.evaluation.split_phrase
    text = f"Everything below was scored on {scored}."
    if settings.is_held_out:
        text = (
            f"Everything below was scored on {scored}, on which nothing was chosen. Methods were trained on the "
            f"{settings.train_split} split and their settings chosen on the {settings.val_split} split."
        )
    blocks: list[Block] = [Paragraph(text=text), TableBlock(caption="Choices", columns=columns, rows=common)]
    if len(rows) > len(common):
        by_source = tuple(row for row in rows if row not in common)
        blocks.append(TableBlock(caption="Choices of each source", columns=columns, rows=by_source, folded=True))
    blocks += [Paragraph(text=note) for note in (*assessment.report.warnings, *assessment.notes)]
    return Section(title="How each choice was made", blocks=tuple(blocks))


def retrieval_section(report: Report, plots: Sequence[Plot]) -> Section:
    """Return image-to-image precision by source; the figures over all sources are in the summary."""
    k = report.settings.neighbours
    rows = tuple(
        (source_name(name), f"{source.images:,}", str(source.labels), figure_cell(source.precision_at_k))
        for name, source in report.sources.items()
    )
    return Section(
        title="Retrieval",
        blocks=(
            Paragraph(text=RETRIEVAL_NOTE),
            *plots,
            TableBlock(
                caption=f"Image to image, precision at {k}",
                columns=("Source", "Images", "Labels", f"Precision at {k}"),
                rows=rows,
            ),
        ),
    )


def command_section(report: Report) -> Section:
    """Return the command that repeats the evaluation."""
    return Section(title="Repeat with", blocks=(Listing(text=report.command),) if report.command else ())
