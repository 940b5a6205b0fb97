"""A report as JSON, as Markdown, as a folder with plots, and as a section of a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import EVALUATION_BEGIN, EVALUATION_END
from medimageinsight.errors import InputError
from medimageinsight.evaluate.figures import Report
from medimageinsight.evaluate.plots import MEAN_AUC_NAME, PRECISION_NAME, draw_plots
from medimageinsight.evaluate.sections import methods_table, overall_rows
from medimageinsight.reports.folder import REPORT_NAME, new_report_folder
from medimageinsight.reports.markdown import plain, table

if TYPE_CHECKING:
    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.figures import SourceFigures

PLOTS = {MEAN_AUC_NAME: "Mean AUC by source", PRECISION_NAME: "Precision by source"}


def to_json(report: Report) -> str:
    """The whole report, one JSON document."""
    return json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(report: Report) -> str:
    """The whole report for reading, with the AUC of every label."""
    return _document(report, plots=[])


def write_report(report: Report, folder: str | Path) -> Path:
    """Writes ``report.json``, ``report.md`` and the plots. The folder is there complete or not at all.

    An earlier report in the same place is replaced.

    Raises:
        InputError: The folder holds something else (``report_folder_occupied``).
        MissingExtraError: matplotlib is not installed.
    """
    with new_report_folder(folder) as fresh:
        (fresh / REPORT_NAME).write_text(to_json(report), encoding="utf-8")
        plots = draw_plots(report, fresh)
        (fresh / "report.md").write_text(_document(report, plots), encoding="utf-8")
    return Path(folder).absolute()


def card_section(found: Report | Assessment) -> str:
    """What a model card says of an evaluation, in Markdown; of an assessment its methods too."""
    report = found if isinstance(found, Report) else found.report
    if isinstance(found, Report) or len(found.methods) < 2:
        return _tables(report)
    methods = methods_table(found)
    chosen = (
        f"kNN and linear probe learnt on the {found.settings.train_split} split; their settings were chosen on the "
        f"{found.settings.val_split} split. The scored split chose nothing."
    )
    return "\n\n".join([_tables(report), f"{methods.caption}:", table(methods.columns, methods.rows), chosen])


def update_model_card(card: str | Path, found: Report | Assessment) -> None:
    """Replaces what a model card says between its two evaluation marks; the rest stays as it is.

    Raises:
        InputError: There is no such file, or it does not have the marks once each, in order.
    """
    card = Path(card)
    if not card.is_file():
        raise InputError("expected a model card, found no such file: check the path", code="model_card_not_found")
    text = card.read_text(encoding="utf-8")
    before, begin, rest = text.partition(EVALUATION_BEGIN)
    _, end, after = rest.partition(EVALUATION_END)
    if not (begin and end) or text.count(EVALUATION_BEGIN) != 1 or text.count(EVALUATION_END) != 1:
        raise InputError(
            f"expected one line {EVALUATION_BEGIN} and below it one line {EVALUATION_END}, "
            "got another number: add them",
            code="model_card_unmarked",
        )
    section = f"{before}{EVALUATION_BEGIN}\n{card_section(found)}\n{EVALUATION_END}{after}"
    with tempfile.TemporaryDirectory(prefix=".card-", dir=card.parent) as scratch:
        fresh = Path(scratch) / card.name
        fresh.write_text(section, encoding="utf-8")
        shutil.copymode(card, fresh)
        fresh.replace(card)


def _document(report: Report, plots: list[str]) -> str:
    parts = [
        f"# Evaluation of {report.model}",
        "For research and development, not for diagnosis or treatment.",
        _tables(report),
    ]
    if label_rows := _label_rows(report):
        parts += [
            "AUC of each label against the others of its source. Of few pictures the interval is too narrow: "
            "resampling cannot know those that were never seen.",
            table(("Source", "Label", "Pictures", "AUC"), label_rows),
        ]
    parts += [f"![{PLOTS[name]}]({name})" for name in plots]
    return "\n\n".join(parts) + "\n"


def _tables(report: Report) -> str:
    """The part of a report that a model card has too."""
    k = report.settings.neighbours
    split = "all pictures" if report.settings.split is None else f"the {report.settings.split} split"
    source_columns = ("Source", "Pictures", "Labels", "Mean AUC", "Finding accuracy", f"Precision at {k}")
    source_rows = [_source_row(name, figures) for name, figures in report.sources.items()]
    parts = [
        f"{report.images:,} pictures of {report.patients:,} patient ids ({split}), {report.prompts:,} prompts. In "
        f"brackets: {report.settings.confidence:.0%} confidence intervals, {report.settings.resamples:,} resamples of "
        "patients.",
        table(("Figure", "Value", "Counted"), overall_rows(report)),
        table(source_columns, source_rows),
        _notes(report),
    ]
    if report.command:
        parts.append(f"Repeat with:\n\n```\n{report.command}\n```")
    return "\n\n".join(parts)


def _source_row(name: str, source: SourceFigures) -> tuple[str, ...]:
    findings = source.findings
    figures = (findings.mean_auc, findings.accuracy) if findings else (None, None)
    cells = ("–" if figure is None else str(figure) for figure in (*figures, source.precision_at_k))
    return (name or "(no name)", f"{source.images:,}", str(source.labels), *cells)


def _label_rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (name, label, f"{auc.count:,}", str(auc))
        for name, source in report.sources.items()
        if source.findings
        for label, auc in source.findings.label_auc.items()
    ]


def _notes(report: Report) -> str:
    """How the figures were made, in sentences; what they leave out."""
    sentences = [
        "Zero-shot: prompts are the distinct captions of the whole table; those of one label are averaged for the AUC "
        "of findings.",
        f"The mean AUC is over {', '.join(report.finding_sources)}." if report.finding_sources else "",
        "Image to image: the neighbours are the other patients' pictures of the same split, of all sources.",
        "Relevant is what has the same source and label; captions count by label, whatever number of them it has.",
    ]
    for name, source in report.sources.items():
        if source.findings and source.findings.left_out:
            sentences.append(f"Without an AUC in {name}: {', '.join(source.findings.left_out)}.")
    return plain(" ".join(filter(None, sentences)))
