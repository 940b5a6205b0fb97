"""Results of a bundle on labelled images, alone or compared with its checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.metrics import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeResult:
    """One runtime on one test set.

    Attributes:
        milliseconds: Median time of the image encoder for one image.
        mean_auc: Mean one-vs-rest ROC AUC over the labels; None if fewer than two were scored.
        accuracy: Share of images whose most probable label is correct; None as `mean_auc`.
    """

    milliseconds: float
    mean_auc: Figure | None
    accuracy: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeComparison:
    """ONNX Runtime against PyTorch on one test set.

    Attributes:
        mean_auc_difference: ONNX Runtime's minus PyTorch's; its interval is from the same resamples of both.
        same_best_label: Share of images that get the same label from both; None without two labels.
        max_abs_diff: Largest difference between components of the embeddings.
        min_cosine: Smallest cosine between the two embeddings of an image.
    """

    mean_auc_difference: Figure | None
    same_best_label: float | None
    max_abs_diff: float
    min_cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """One test set: the images of one source.

    Attributes:
        name: The source; empty if the table names none.
        images: Number of images measured.
        scored: Number of images with a label that is scored.
        onnxruntime: The bundle.
        pytorch: The checkpoint; None if none was given.
        agreement: None if no checkpoint was given.
    """

    name: str
    images: int
    scored: int
    onnxruntime: RuntimeResult
    pytorch: RuntimeResult | None
    agreement: RuntimeComparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Results of a bundle on labelled images.

    Attributes:
        model: The bundle's name.
        split: The split that was scored; None for all images.
        confidence: Confidence level of all intervals.
        sets: One per source, in the table's order.
        measured_with: Processor, threads, provider, versions and other conditions of the times.
    """

    model: str
    split: str | None
    confidence: float
    sets: tuple[SourceResult, ...]
    measured_with: Mapping[str, str | int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)
