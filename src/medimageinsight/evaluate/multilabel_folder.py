"""Write the evaluation of labels that do not exclude each other as a folder: report, plots, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.evaluate.assessment_plots import draw_series
from medimageinsight.evaluate.sections.multilabel import choices_section, labels_section, operating_section
from medimageinsight.evaluate.sections.rate_gaps import rate_gaps_section
from medimageinsight.reports import LABELS_NAME, REPORT_NAME, Document, new_report_folder, to_html, to_markdown
from medimageinsight.reports.document import Listing, Section
from medimageinsight.reports.figure import COLORS, DASHES, INK, new_figure, save_figure
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from medimageinsight.evaluate.multilabel import MultilabelAssessment
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.reports.document import Plot

_PANELS_PER_ROW = 4


def write_multilabel(assessment: MultilabelAssessment, folder: str | Path) -> Path:
    """Write ``report.json``, ``report.md``, ``report.html``, ``labels.csv`` and the plots: all files or none.

    The folder is new or empty, or has an earlier report, which is replaced. The report has no data of a single image or
    patient.

    Raises:
        InputError: The folder has other files (``report_folder_occupied``).
        MissingExtraError: matplotlib is not installed.
    """
    with new_report_folder(folder) as fresh:
        document = _document(assessment, fresh)
        text = json.dumps(assessment.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / REPORT_NAME).write_text(text + "\n", encoding="utf-8")
        (fresh / LABELS_NAME).write_text(labels_csv(assessment), encoding="utf-8")
        (fresh / "report.md").write_text(to_markdown(document), encoding="utf-8")
        (fresh / "report.html").write_text(to_html(document), encoding="utf-8")
    return Path(folder).absolute()


def labels_csv(assessment: MultilabelAssessment) -> str:
    """Return the figures as CSV: one row for each label and method; empty cells where there are too few."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    measures = ("auc", "average_precision")
    columns = [name for measure in measures for name in (measure, f"{measure}_low", f"{measure}_high")]
    writer.writerow(("label", "method", "positives", "negatives", "ignored", *columns))
    for label, counts in assessment.labels.items():
        for name, method in assessment.methods.items():
            figures = (method.label_auc.get(label), method.label_average_precision.get(label))
            cells = [cell for figure in figures for cell in _cells(figure)]
            writer.writerow((label, name, counts.positives, counts.negatives, counts.ignored, *cells))
    return stream.getvalue()


def _cells(figure: Figure | None) -> tuple[str, ...]:
    if figure is None:
        return ("", "", "")
    return tuple(f"{value:.6f}" for value in (figure.value, figure.low, figure.high))


def _document(assessment: MultilabelAssessment, folder: Path) -> Document:
    evaluation = assessment.settings.evaluation
    listing = (Listing(text=assessment.command),) if assessment.command else ()
    return Document(
        title=f"Evaluation of {assessment.model}: {len(assessment.labels)} labels",
        lead=f"{assessment.images:,} images, {assessment.patients_phrase} ({evaluation.split_phrase}). In brackets: "
        f"{evaluation.confidence:.0%} confidence intervals by patient. {DISCLAIMER}",
        sections=(
            labels_section(assessment, _draw_measures(assessment, folder)),
            choices_section(assessment),
            operating_section(assessment, _draw_roc(assessment, folder)),
            rate_gaps_section(assessment.rate_gaps),
            Section(title="Repeat with", blocks=listing),
        ),
    )


def _draw_measures(assessment: MultilabelAssessment, folder: Path) -> list[Plot]:
    """Draw AUC and average precision of every label by every method, with intervals."""
    names = [
        name for name in assessment.labels if any(name in method.label_auc for method in assessment.methods.values())
    ]
    if not names:
        return []
    height = 1.2 + 0.14 * len(names) * (1 + len(assessment.methods))
    with new_figure(9.5, height, name="labels") as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        draw_series(left, names, _series(assessment, "label_auc", names))
        draw_series(right, names, _series(assessment, "label_average_precision", names))
        left.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        left.set_xlabel("AUC; 0.5 is chance")
        right.set(xlabel="average precision; dotted: chance", xlim=(0.0, 1.02))
        for row, name in enumerate(names):
            counts = assessment.labels[name]
            share = counts.positives / (counts.positives + counts.negatives)
            right.plot((share, share), (row - 0.4, row + 0.4), color=INK, linewidth=0.8, linestyle=":")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        alt = f"AUC and average precision of each label by {', '.join(assessment.methods)}, with confidence intervals."
        return [save_figure(figure, folder, "labels", alt=alt)]


def _series(assessment: MultilabelAssessment, attribute: str, names: list[str]) -> dict[str, list[Figure | None]]:
    return {
        name: [getattr(method, attribute).get(label) for label in names] for name, method in assessment.methods.items()
    }


def _draw_roc(assessment: MultilabelAssessment, folder: Path) -> list[Plot]:
    """Draw the ROC curves of every label, a panel each, with the operating points chosen on the validation split."""
    methods = assessment.methods.values()
    names = [name for name in assessment.labels if any(name in method.roc for method in methods)]
    if not names:
        return []
    columns = min(_PANELS_PER_ROW, len(names))
    rows = math.ceil(len(names) / columns)
    with new_figure(2.5 * columns, 2.6 * rows + 0.3, name="roc_labels") as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _draw_panel(axes, name, assessment)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        figure.supxlabel("1 - specificity", fontsize=9)
        figure.supylabel("sensitivity", fontsize=9)
        alt = (
            "ROC curves on the scored split, one panel per label and one line per method. Circles are Youden's "
            "thresholds, squares the others, chosen on the validation split."
        )
        return [save_figure(figure, folder, "roc_labels", alt=alt)]


def _draw_panel(axes: Axes, label: str, assessment: MultilabelAssessment) -> None:
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
    for index, (name, method) in enumerate(assessment.methods.items()):
        color = COLORS[index]
        x, y = zip(*method.roc.get(label, ()), strict=True) if label in method.roc else ((), ())
        axes.plot(x, y, color=color, linestyle=DASHES[index], linewidth=1.2, label=name)
        for point in method.operating.points:
            if point.label == label:
                marker = "o" if point.criterion == "youden" else "s"
                axes.plot(point.false_positive_rate, point.sensitivity.value, marker, color=color, markersize=4)
    short = label if len(label) <= 22 else f"{label[:21]}…"
    axes.set(title=short, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=(0, 1), yticks=(0, 1))
