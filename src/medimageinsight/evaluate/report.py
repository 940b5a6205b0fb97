"""A report as JSON, as Markdown, as a folder with plots, and as a section of a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.bundle.bundle import EVALUATION_BEGIN, EVALUATION_END
from medimageinsight.errors import InputError
from medimageinsight.evaluate.plots import MEAN_AUC_NAME, PRECISION_NAME, draw_plots
from medimageinsight.report_folder import REPORT_NAME, new_report_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.evaluate.figures import Report, SourceFigures

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


def update_model_card(card: str | Path, report: Report) -> None:
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
    section = f"{before}{EVALUATION_BEGIN}\n{_tables(report)}\n{EVALUATION_END}{after}"
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
            _table(("Source", "Label", "Pictures", "AUC"), label_rows),
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
        _table(("Figure", "Value", "Counted"), _overall_rows(report)),
        _table(source_columns, source_rows),
        _notes(report),
    ]
    if report.command:
        parts.append(f"Repeat with:\n\n```\n{report.command}\n```")
    return "\n\n".join(parts)


def _overall_rows(report: Report) -> list[tuple[str, ...]]:
    k = report.settings.neighbours
    rows = [
        ("Modality of the best prompt is right", report.modality_accuracy, "pictures"),
        ("Modality and anatomy of the best prompt are right", report.anatomy_accuracy, "pictures"),
        ("Mean one-against-rest AUC of findings", report.mean_auc, "sources"),
        (f"Image to image, precision at {k}", report.precision_at_k, "pictures"),
        *((f"Image to text, recall at {at}", figure, "pictures") for at, figure in report.image_to_text.items()),
        *((f"Text to image, recall at {at}", figure, "labels") for at, figure in report.text_to_image.items()),
        (f"Text to image, precision at {k}", report.text_to_image_precision, "labels"),
    ]
    return [(name, str(figure), f"{figure.count:,} {unit}") for name, figure, unit in rows if figure is not None]


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
    return " ".join(filter(None, sentences))


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
