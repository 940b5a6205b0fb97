"""What the ONNX release of the original model published of itself, to stand beside a run on the same test sets.

Its evaluation page gives mean AUC in percent and milliseconds an image; hardware, batch and provider are not stated, so
times are not put beside others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """One test set of the release's evaluation page.

    Attributes:
        name: As the page has it.
        images: Pictures of the test set.
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


def published(source: str) -> PublishedSet | None:
    """The test set that a source's name means, whatever its case and punctuation; None for all others."""
    return {_plain(one.name): one for one in EVALUATION_PAGE}.get(_plain(source))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
