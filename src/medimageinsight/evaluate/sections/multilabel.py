"""Report sections of labels that do not exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import DASH, TOO_FEW, figure_cell
from medimageinsight.evaluate.sections.operating_points import OPERATING_COLUMNS, operating_rows
from medimageinsight.metrics.intervals import MIN_POSITIVES
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.multilabel import MultilabelAssessment
    from medimageinsight.reports.document import Block, Plot


def multilabel_methods_table(assessment: MultilabelAssessment) -> TableBlock:
    """Return one row per method: the macro means over the same labels."""
    return TableBlock(
        caption="By method, macro mean over the same labels",
        columns=("Method", "Mean AUC", "Mean average precision", "Labels"),
        rows=tuple(
            (
                name,
                figure_cell(method.mean_auc, absent=TOO_FEW),
                figure_cell(method.mean_average_precision, absent=TOO_FEW),
                f"{len(method.averaged)} of {len(assessment.labels)}",
            )
            for name, method in assessment.methods.items()
        ),
    )


def label_rows(assessment: MultilabelAssessment) -> tuple[tuple[str, ...], ...]:
    """Return label, counts, method, AUC and average precision of each label by each method."""
    return tuple(
        (
            label,
            f"{counts.positives:,}",
            f"{counts.negatives:,}",
            f"{counts.ignored:,}",
            name,
            figure_cell(method.label_auc.get(label), absent=TOO_FEW if label in method.too_few else DASH),
            figure_cell(method.label_average_precision.get(label), absent=TOO_FEW if label in method.too_few else DASH),
        )
        for label, counts in assessment.labels.items()
        for name, method in assessment.methods.items()
    )


def labels_section(assessment: MultilabelAssessment, plots: Sequence[Plot]) -> Section:
    """Return the macro means, and the figures of each label."""
    return Section(
        title="Labels",
        blocks=(
            multilabel_methods_table(assessment),
            *plots,
            TableBlock(
                caption="Each label against the images without it",
                columns=("Label", "Positives", "Negatives", "Ignored", "Method", "AUC", "Average precision"),
                rows=label_rows(assessment),
            ),
            Paragraph(
                text="Images that are uncertain for a label are ignored for it: neither positive nor negative. Too "
                f"few: fewer than {MIN_POSITIVES} patients with the label, or without it; such a label is not in a "
                "mean. An average precision holds for the scored images' share of positives, which is its value by "
                "chance."
            ),
        ),
    )


def choices_section(assessment: MultilabelAssessment) -> Section:
    """Return every choice with its rule and its split, and what was left out."""
    rows = tuple((choice.what, choice.value, choice.how, choice.made_on) for choice in assessment.choices)
    score = Paragraph(text=f"The zero-shot score of a label: {assessment.score}.")
    blocks: list[Block] = [
        score,
        TableBlock(caption="Choices", columns=("Choice", "Value", "How", "Made on"), rows=rows),
        *(Paragraph(text=note) for note in assessment.notes),
    ]
    return Section(title="How each choice was made", blocks=tuple(blocks))


def operating_section(assessment: MultilabelAssessment, plots: Sequence[Plot]) -> Section:
    """Return ROC curves, and thresholds with their sensitivity and specificity."""
    tables = [
        TableBlock(
            caption=f"Operating points of {name}",
            columns=("Label", *OPERATING_COLUMNS),
            rows=tuple(operating_rows(method.operating)),
            folded=True,
        )
        for name, method in assessment.methods.items()
        if method.operating.points or method.operating.left_out
    ]
    note = Paragraph(
        text=f"Thresholds were chosen on the {assessment.settings.val_split} split and scored on the scored split. "
        "Intervals treat the threshold as fixed."
    )
    return Section(title="ROC curves and operating points", blocks=(*([note] if tables else []), *plots, *tables))
