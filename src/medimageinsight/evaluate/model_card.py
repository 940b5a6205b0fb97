"""The evaluation section of a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import EVALUATION_BEGIN, EVALUATION_END
from medimageinsight.errors import InputError
from medimageinsight.evaluate.results import DASH, TOO_FEW, Report, figure_cell, source_name
from medimageinsight.evaluate.sections.summary import RETRIEVAL_NOTE, methods_table, overall_rows
from medimageinsight.files.atomic import replace_file
from medimageinsight.metrics.intervals import MIN_POSITIVES
from medimageinsight.reports import markdown_table, markdown_text

if TYPE_CHECKING:
    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.results import SourceFigures


def card_section(result: Report | Assessment) -> str:
    """Return the evaluation section of a model card, in Markdown; with the table of methods for an assessment."""
    report = result if isinstance(result, Report) else result.report
    if isinstance(result, Report) or len(result.methods) < 2:
        return _report_text(report)
    methods = methods_table(result)
    note = (
        f"kNN and linear probe were trained on the {result.settings.train_split} split and their settings chosen on "
        f"the {result.settings.val_split} split. Nothing was chosen on the scored split."
    )
    return "\n\n".join(
        [_report_text(report), f"{methods.caption}:", markdown_table(methods.columns, methods.rows), note]
    )


def update_model_card(card: str | Path, result: Report | Assessment) -> None:
    """Replace the text between a model card's two evaluation marks; the rest is unchanged.

    Raises:
        InputError: There is no such file (``model_card_not_found``), or it does not have both marks exactly once, in
            order (``model_card_unmarked``).
    """
    card = Path(card)
    if not card.is_file():
        raise InputError("expected a model card, found no such file: check the path", code="model_card_not_found")
    text = card.read_text(encoding="utf-8")
    before, begin, rest = text.partition(EVALUATION_BEGIN)
    _, end, after = rest.partition(EVALUATION_END)
    counts = text.count(EVALUATION_BEGIN), text.count(EVALUATION_END)
    if not (begin and end) or counts != (1, 1):
        raise InputError(
            f"expected one line {EVALUATION_BEGIN} and below it one line {EVALUATION_END}, got {counts[0]} and "
            f"{counts[1]} of them{' in another order' if counts == (1, 1) else ''}: correct them",
            code="model_card_unmarked",
        )
    section = f"{before}{EVALUATION_BEGIN}\n{card_section(result)}\n{EVALUATION_END}{after}"
    with replace_file(card) as partial:
        partial.write_text(section, encoding="utf-8")
        shutil.copymode(card, partial)


def _report_text(report: Report) -> str:
    k = report.settings.neighbours
    source_columns = ("Source", "Images", "Labels", "Mean AUC", "Finding accuracy", f"Precision at {k}")
    source_rows = [_source_row(name, figures) for name, figures in report.sources.items()]
    parts = [
        f"{report.images:,} images, {report.patients_phrase} ({report.settings.split_phrase}), "
        f"{report.prompts:,} prompts. In brackets: {report.settings.confidence:.0%} confidence intervals, "
        f"{report.settings.resamples:,} resamples of patients.",
        markdown_table(("Figure", "Value", "Count"), overall_rows(report)),
        markdown_table(source_columns, source_rows),
        _notes(report),
    ]
    if report.command:
        parts.append(f"Repeat with:\n\n```\n{report.command}\n```")
    return "\n\n".join(parts)


def _source_row(name: str, source: SourceFigures) -> tuple[str, ...]:
    findings = source.findings
    figures = (findings.mean_auc, findings.accuracy) if findings else (None, None)
    auc = figure_cell(figures[0], absent=TOO_FEW if findings and findings.too_few else DASH)
    cells = (figure_cell(figure) for figure in (figures[1], source.precision_at_k))
    return (source_name(name), f"{source.images:,}", str(source.labels), auc, *cells)


def _notes(report: Report) -> str:
    """Return how the figures were made and what they leave out."""
    sentences = [
        f"Zero-shot: prompts are {report.prompt_source}; for the AUC of findings the prompts of a label are averaged.",
        *report.warnings,
        f"The mean AUC is over {', '.join(report.finding_sources)}." if report.finding_sources else "",
        RETRIEVAL_NOTE,
    ]
    for name, source in report.sources.items():
        if source.findings and source.findings.left_out:
            sentences.append(f"Without an AUC in {name}: {', '.join(source.findings.left_out)}.")
        if source.findings and source.findings.too_few:
            sentences.append(
                f"Too few in {name} (fewer than {MIN_POSITIVES} patients with or without the label): "
                f"{', '.join(source.findings.too_few)}."
            )
    return markdown_text(" ".join(filter(None, sentences)))
