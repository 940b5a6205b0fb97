"""An assessment as a folder: a report to read as Markdown and as HTML, its plots, and JSON with everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.evaluate import sections
from medimageinsight.evaluate.assessment_plots import (
    draw_differences,
    draw_groups,
    draw_methods,
    draw_reliability,
    draw_roc,
)
from medimageinsight.evaluate.comparison_section import comparison_section
from medimageinsight.evaluate.plots import draw_precision
from medimageinsight.reports.document import Document
from medimageinsight.reports.folder import REPORT_NAME, new_report_folder
from medimageinsight.reports.html import as_html
from medimageinsight.reports.markdown import as_markdown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.comparison import Comparison
    from medimageinsight.reports.document import Plot

MARKDOWN_NAME, HTML_NAME = "report.md", "report.html"


def write_assessment(
    assessment: Assessment,
    folder: str | Path,
    *,
    comparison: Comparison | None = None,
    other: Assessment | None = None,
) -> Path:
    """Writes ``report.json``, ``report.md``, ``report.html`` and the plots. The folder is there complete or not at all.

    An earlier report in the same place is replaced. Nothing in it is of a single picture or patient.

    Args:
        assessment: The first model.
        folder: A new or empty folder, or an earlier report.
        comparison: With ``other``, the second model beside it.
        other: The second model.

    Raises:
        InputError: The folder holds something else (``report_folder_occupied``).
        MissingExtraError: matplotlib is not installed.
    """
    with new_report_folder(folder) as fresh:
        document = _document(assessment, comparison, fresh)
        text = json.dumps(to_dict(assessment, comparison, other), indent=2, ensure_ascii=False, allow_nan=False)
        (fresh / REPORT_NAME).write_text(text + "\n", encoding="utf-8")
        (fresh / MARKDOWN_NAME).write_text(as_markdown(document), encoding="utf-8")
        (fresh / HTML_NAME).write_text(as_html(document), encoding="utf-8")
    return Path(folder).absolute()


def to_dict(
    assessment: Assessment, comparison: Comparison | None = None, other: Assessment | None = None
) -> dict[str, Any]:
    """The first model's keys; ``comparison`` and ``against`` beside them where there are two."""
    whole = assessment.to_dict()
    if comparison is not None:
        whole["comparison"] = comparison.to_dict()
    if other is not None:
        whole["against"] = other.to_dict()
    return whole


def _document(assessment: Assessment, comparison: Comparison | None, folder: Path) -> Document:
    report, methods = assessment.report, assessment.methods
    beside = (
        [] if comparison is None else [comparison_section(comparison, _some([draw_differences(comparison, folder)]))]
    )
    split = "all pictures" if report.settings.split is None else f"the {report.settings.split} split"
    versus = "" if comparison is None else f" beside {comparison.against}"
    return Document(
        title=f"Evaluation of {report.model}{versus}",
        lead=f"{report.images:,} pictures of {report.patients:,} patient ids ({split}), {report.prompts:,} prompts. In "
        f"brackets: {report.settings.confidence:.0%} confidence intervals, {report.settings.resamples:,} resamples of "
        "patients. For research and development, not for diagnosis or treatment.",
        sections=(
            sections.in_short(assessment),
            *beside,
            sections.how_chosen(assessment),
            sections.by_source(assessment, _some([draw_methods(assessment, folder)])),
            sections.release_tables(assessment),
            sections.retrieval(report, _some([draw_precision(report, folder)])),
            sections.operating(assessment, _some(draw_roc(name, one, folder) for name, one in methods.items())),
            sections.calibration(assessment, _some([draw_reliability(methods, folder)])),
            sections.by_groups(assessment, draw_groups(assessment.groups, folder)),
            sections.repeat(report),
        ),
    )


def _some(plots: Iterable[Plot | None]) -> list[Plot]:
    return [plot for plot in plots if plot is not None]
