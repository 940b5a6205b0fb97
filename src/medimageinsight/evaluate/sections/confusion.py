"""The report section on confusion matrices, and all of them as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from medimageinsight.evaluate.results import DASH, source_name
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from medimageinsight.evaluate.assessment import MethodAssessment
    from medimageinsight.evaluate.confusion import ConfusionMatrix
    from medimageinsight.reports.document import Block, Plot

_MAX_CLASSES = 12  # columns of a table in the report; larger matrices are in the CSV file only


def confusion_section(methods: Mapping[str, MethodAssessment], plots: Sequence[Plot]) -> Section:
    """Return how many images of each class got each answer, by method and source."""
    tables = [
        TableBlock(
            caption=f"{name}, {source_name(source)}: images, and share of the true class",
            columns=("Truth", *matrix.names),
            rows=tuple(_rows(matrix)),
            folded=True,
        )
        for name, method in methods.items()
        for source, of_source in method.sources.items()
        if (matrix := of_source.figures.confusion) is not None and len(matrix.names) <= _MAX_CLASSES
    ]
    if not tables and not plots:
        return Section(title="Confusion matrices", blocks=())
    text = (
        "Rows are true classes, columns the answers: the most probable class, whatever the operating points below. "
        "confusion.csv has all matrices."
    )
    blocks: list[Block] = [Paragraph(text=text), *plots, *tables]
    return Section(title="Confusion matrices", blocks=tuple(blocks))


def confusion_csv(methods: Mapping[str, MethodAssessment]) -> str:
    """Return all matrices as CSV: one row for each method, source, true class and answer."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("method", "source", "truth", "answer", "images", "share of truth"))
    for method, assessment in methods.items():
        for source, of_source in assessment.sources.items():
            matrix = of_source.figures.confusion
            if matrix is None:
                continue
            for truth, counts, shares in zip(matrix.names, matrix.counts, matrix.shares, strict=True):
                for answer, count, share in zip(matrix.names, counts, shares, strict=True):
                    shown = "" if share is None else f"{share:.6f}"
                    writer.writerow((method, source, truth, answer, count, shown))
    return stream.getvalue()


def _rows(matrix: ConfusionMatrix) -> Iterator[tuple[str, ...]]:
    for name, counts, shares in zip(matrix.names, matrix.counts, matrix.shares, strict=True):
        cells = (
            f"{count:,} ({DASH if share is None else format(share, '.2f')})"
            for count, share in zip(counts, shares, strict=True)
        )
        yield (name, *cells)
