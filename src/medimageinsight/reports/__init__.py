"""Documents and plots: one document as Markdown and as HTML, written as a folder."""

from __future__ import annotations

from medimageinsight.reports.document import Document, Listing, Paragraph, Plot, Section, TableBlock
from medimageinsight.reports.figure import new_figure, save_figure
from medimageinsight.reports.folder import (
    CONFUSION_NAME,
    LABELS_NAME,
    REPORT_NAME,
    check_report_folder,
    new_report_folder,
)
from medimageinsight.reports.html import to_html
from medimageinsight.reports.markdown import markdown_table, markdown_text, to_markdown

__all__ = [
    "CONFUSION_NAME",
    "LABELS_NAME",
    "REPORT_NAME",
    "Document",
    "Listing",
    "Paragraph",
    "Plot",
    "Section",
    "TableBlock",
    "check_report_folder",
    "markdown_table",
    "markdown_text",
    "new_figure",
    "new_report_folder",
    "save_figure",
    "to_html",
    "to_markdown",
]
