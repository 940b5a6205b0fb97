"""The report section on retrieval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.evaluate.figures import source_name
from medimageinsight.evaluate.sections.cells import figure_cell
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.figures import Report
    from medimageinsight.reports.document import Plot

RETRIEVAL_NOTE = (
    "Image to image: the neighbours are the other patients' images of the same split, of all sources. Images of the "
    "same source and label are relevant; captions are averaged by label."
)


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
