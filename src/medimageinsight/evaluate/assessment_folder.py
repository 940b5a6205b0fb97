"""Write an assessment as a folder: a report as Markdown and HTML, its plots, and all figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.evaluate.assessment_plots import (
    draw_differences,
    draw_groups,
    draw_methods,
    draw_precision,
    draw_reliability,
    draw_roc,
)
from medimageinsight.evaluate.comparison import AssessedModels
from medimageinsight.evaluate.confusion_plots import draw_confusion
from medimageinsight.evaluate.sections.classification import (
    calibration_section,
    classification_section,
    operating_section,
)
from medimageinsight.evaluate.sections.comparison import comparison_section, groups_section
from medimageinsight.evaluate.sections.confusion import confusion_csv, confusion_section
from medimageinsight.evaluate.sections.published import published_section
from medimageinsight.evaluate.sections.rate_gaps import rate_gaps_section
from medimageinsight.evaluate.sections.summary import (
    choices_section,
    command_section,
    retrieval_section,
    summary_section,
)
from medimageinsight.reports import CONFUSION_NAME, REPORT_NAME, Document, new_report_folder, to_html, to_markdown
from medimageinsight.version import DISCLAIMER

if TYPE_CHECKING:
    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.comparison import Comparison


def write_assessment(
    assessment: Assessment,
    folder: str | Path,
    *,
    comparison: Comparison | None = None,
    other: Assessment | None = None,
) -> Path:
    """Write ``report.json``, ``report.md``, ``report.html``, ``confusion.csv`` and plots: all files or none.

    The folder is new or empty, or has an earlier report, which is replaced. The report has no data of a single image or
    patient. ``comparison`` is that with the second model, ``other``.

    Raises:
        InputError: The folder has other files (``report_folder_occupied``).
        MissingExtraError: matplotlib is not installed.
    """
    content = AssessedModels(assessment=assessment, other=other, comparison=comparison).to_dict()
    with new_report_folder(folder) as fresh:
        document = _document(assessment, comparison, fresh)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / CONFUSION_NAME).write_text(confusion_csv(assessment.methods), encoding="utf-8")
        (fresh / REPORT_NAME).write_text(text + "\n", encoding="utf-8")
        (fresh / "report.md").write_text(to_markdown(document), encoding="utf-8")
        (fresh / "report.html").write_text(to_html(document), encoding="utf-8")
    return Path(folder).absolute()


def _document(assessment: Assessment, comparison: Comparison | None, folder: Path) -> Document:
    report, methods = assessment.report, assessment.methods
    against, compared = "", []
    if comparison is not None:
        against = f" compared with {comparison.against}"
        compared = [comparison_section(comparison, draw_differences(comparison, folder))]
    confusion_plots = [plot for name, method in methods.items() for plot in draw_confusion(name, method, folder)]
    roc_plots = [plot for name, method in methods.items() for plot in draw_roc(name, method, folder)]
    return Document(
        title=f"Evaluation of {report.model}{against}",
        lead=f"{report.images:,} images, {report.patients_phrase} ({report.settings.split_phrase}), "
        f"{report.prompts:,} prompts. In brackets: {report.settings.confidence:.0%} confidence intervals, "
        f"{report.settings.resamples:,} resamples of patients. {DISCLAIMER}",
        sections=(
            summary_section(assessment),
            *compared,
            choices_section(assessment),
            classification_section(assessment, draw_methods(assessment, folder)),
            confusion_section(methods, confusion_plots),
            published_section(assessment),
            retrieval_section(report, draw_precision(report, folder)),
            operating_section(assessment, roc_plots),
            calibration_section(assessment, draw_reliability(methods, folder)),
            groups_section(assessment, draw_groups(assessment.groups, folder)),
            rate_gaps_section(assessment.rate_gaps),
            command_section(report),
        ),
    )
