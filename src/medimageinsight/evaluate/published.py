"""Figures published by the ONNX release of the original model, to compare with a run on the same test sets.

Its evaluation page gives mean AUC in percent and milliseconds per image; hardware, batch and provider are not stated,
so times are not compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """One test set of the release's evaluation page.

    Attributes:
        name: As on the page.
        images: Number of images in the test set.
        mean_auc_pytorch: In percent, float16.
        mean_auc_onnx: In percent, float16 in ONNX Runtime.
    """

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


def find_published(source: str) -> PublishedSet | None:
    """Return the test set with a source's name, ignoring case and punctuation; None if there is none."""
    return next((row for row in EVALUATION_PAGE if _normalize(row.name) == _normalize(source)), None)


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
