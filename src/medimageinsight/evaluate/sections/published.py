"""The report section with the figures that the ONNX release of the original model published.

Its evaluation page gives mean AUC in percent and milliseconds per image; hardware, batch and provider are not stated,
so times are not compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from medimageinsight.evaluate.results import DASH, source_name
from medimageinsight.reports.document import Paragraph, Section, TableBlock

if TYPE_CHECKING:
    from medimageinsight.evaluate.assessment import Assessment


class PublishedSet(NamedTuple):
    """One test set of the release's evaluation page; mean AUC in percent, float16."""

    name: str
    images: int
    mean_auc_pytorch: float
    mean_auc_onnx: float


EVALUATION_PAGE = (
    PublishedSet(name="LTCXR", images=20_000, mean_auc_pytorch=87.73, mean_auc_onnx=87.72),
    PublishedSet(name="RSNA mammography", images=10_000, mean_auc_pytorch=88.83, mean_auc_onnx=88.85),
    PublishedSet(name="MGB CXR", images=684, mean_auc_pytorch=92.55, mean_auc_onnx=92.75),
    PublishedSet(name="RSNA bone age, male", images=773, mean_auc_pytorch=93.47, mean_auc_onnx=93.47),
    PublishedSet(name="GastroVision", images=3_200, mean_auc_pytorch=77.61, mean_auc_onnx=76.77),
)


def published_section(assessment: Assessment) -> Section:
    """Return the table of the release's evaluation page, with its published figures for sources that are its sets."""
    title = "Compared with the release's evaluation page"
    zero_shot = next(iter(assessment.methods.values()), None)
    if zero_shot is None:
        return Section(title=title, blocks=())
    rows, any_published = [], False
    for name, source in zero_shot.sources.items():
        auc, published = source.figures.mean_auc, find_published(name)
        if auc is None:
            continue
        any_published = any_published or published is not None
        rows.append(
            (
                source_name(name),
                f"{source.figures.images:,}",
                f"{100 * auc.value:.2f} ({100 * auc.low:.2f} to {100 * auc.high:.2f})",
                f"{published.images:,}" if published else DASH,
                f"{published.mean_auc_pytorch:.2f}" if published else DASH,
                f"{published.mean_auc_onnx:.2f}" if published else DASH,
            )
        )
    columns = (
        "Test set",
        "Images",
        "mAUC here, %",
        "Images published",
        "mAUC published, PyTorch fp16",
        "mAUC published, ONNX Runtime fp16",
    )
    width = len(columns) if any_published else 3
    note = (
        "Published figures are comparable only where the images, classes and prompts are the same."
        if any_published
        else "No source of this table is a test set of the release's evaluation page, so nothing is compared."
    )
    table = TableBlock(caption="Zero-shot mAUC", columns=columns[:width], rows=tuple(row[:width] for row in rows))
    return Section(title=title, blocks=(table, Paragraph(text=note)) if rows else ())


def find_published(source: str) -> PublishedSet | None:
    """Return the test set with a source's name, ignoring case and punctuation; None if there is none."""
    return next((row for row in EVALUATION_PAGE if _normalize(row.name) == _normalize(source)), None)


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
