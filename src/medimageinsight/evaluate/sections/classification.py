"""Report sections on classification, operating points and calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import DASH, TOO_FEW, figure_cell, source_name
from medimageinsight.evaluate.sections.operating_points import OPERATING_COLUMNS, operating_rows
from medimageinsight.metrics.intervals import MIN_POSITIVES
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.assessment import Assessment, MethodAssessment, SourceAssessment
    from medimageinsight.reports.document import Block, Plot


def classification_section(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Return AUC and accuracy of each source by each method."""
    report, methods = assessment.report, assessment.methods
    names = _source_names(methods)

    def cell(method: MethodAssessment, name: str, attribute: str) -> str:
        if name not in method.sources:
            return DASH
        figures = method.sources[name].figures
        return figure_cell(getattr(figures, attribute), absent=TOO_FEW if figures.too_few else DASH)

    def rows(attribute: str) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (
                source_name(name),
                f"{report.sources[name].images:,}",
                *(cell(method, name, attribute) for method in methods.values()),
            )
            for name in names
        )

    columns = ("Source", "Images", *methods)
    label_rows = tuple(
        (source_name(name), label, method_name, f"{auc.count:,}", str(auc), str(precisions[label]))
        for name in names
        for method_name, method in methods.items()
        if name in method.sources
        for precisions in (method.sources[name].figures.label_average_precision,)
        for label, auc in method.sources[name].figures.label_auc.items()
    )
    few_rows = tuple(
        (source_name(name), label, method_name, DASH, TOO_FEW, TOO_FEW)
        for name in names
        for method_name, method in methods.items()
        if name in method.sources
        for label in method.sources[name].figures.too_few
    )
    return Section(
        title="Classification",
        blocks=(
            *plots,
            TableBlock(caption="Mean one-vs-rest AUC", columns=columns, rows=rows("mean_auc")),
            TableBlock(caption="Mean average precision", columns=columns, rows=rows("mean_average_precision")),
            TableBlock(caption="Accuracy", columns=columns, rows=rows("accuracy")),
            TableBlock(caption="Balanced accuracy", columns=columns, rows=rows("balanced_accuracy"), folded=True),
            TableBlock(
                caption="AUC and average precision of each class against its source's other classes",
                columns=("Source", "Class", "Method", "Positives", "AUC", "Average precision"),
                rows=label_rows + few_rows,
                folded=True,
            ),
            Paragraph(
                text=f"Too few: fewer than {MIN_POSITIVES} patients with the class, or without it. Such a class has no "
                "AUC and no average precision and is not in a mean. An average precision holds for the scored split's "
                "share of positives, which is its value by chance."
            ),
        ),
    )


def operating_section(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Return ROC curves, and thresholds with their sensitivity and specificity."""
    tables: list[Block] = []
    for name, method in assessment.methods.items():
        rows = tuple(row for source, of_source in method.sources.items() for row in _operating_rows(source, of_source))
        if rows:
            tables.append(
                TableBlock(
                    caption=f"Operating points of {name}",
                    columns=("Source", "Class", *OPERATING_COLUMNS),
                    rows=rows,
                    folded=True,
                )
            )
    note = Paragraph(
        text=f"Thresholds were chosen on the {assessment.settings.val_split} split and scored on the scored split. "
        "Predictive values hold for the scored split's prevalence. Intervals treat the threshold as fixed."
    )
    return Section(title="ROC curves and operating points", blocks=(*([note] if tables else []), *plots, *tables))


def calibration_section(assessment: Assessment, plots: Sequence[Plot]) -> Section:
    """Return expected calibration error, Brier score and log loss by source and method."""
    rows = tuple(
        (
            source_name(name),
            method_name,
            figure_cell((calibration := method.sources[name].calibration).error),
            figure_cell(calibration.brier),
            figure_cell(calibration.log_loss),
            DASH if calibration.temperature is None else f"{calibration.temperature:.2f}",
            figure_cell(calibration.error_scaled),
        )
        for name in _source_names(assessment.methods)
        for method_name, method in assessment.methods.items()
        if name in method.sources
    )
    return Section(
        title="Calibration",
        blocks=(
            *plots,
            Paragraph(
                text="Error is the expected calibration error over ten bins of confidence; chance raises it in a small "
                "set, and its interval corrects for that. The temperature has the lowest log loss on the split to "
                "choose on; the last column is the error with that temperature. The Brier score is the original one "
                "(1950): squared differences summed over all classes, 0 to 2; with two classes twice the usual one."
            ),
            TableBlock(
                caption="Calibration by source; 0 is best",
                columns=("Source", "Method", "Error", "Brier score", "Log loss", "Temperature", "Error with it"),
                rows=rows,
            ),
        ),
    )


def _operating_rows(name: str, source: SourceAssessment) -> list[tuple[str, ...]]:
    if source.operating is None:
        return []
    return [(source_name(name), *row) for row in operating_rows(source.operating)]


def _source_names(methods: Mapping[str, MethodAssessment]) -> list[str]:
    return list(dict.fromkeys(name for method in methods.values() for name in method.sources))
