"""What a bundle reached on labelled pictures: numbers, beside its checkpoint's where one was given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.metrics.bootstrap import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFigures:
    """One runtime on one test set.

    Attributes:
        milliseconds: Median time of the image encoder for one picture.
        mean_auc: Mean one-against-rest ROC AUC over the labels; None where fewer than two were scored.
        accuracy: The label of the highest probability is the picture's; None as before.
    """

    milliseconds: float
    mean_auc: Figure | None
    accuracy: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFigures:
    """ONNX Runtime beside PyTorch on one test set.

    Attributes:
        mean_auc_difference: ONNX Runtime's less PyTorch's, its interval from the same resamples of both.
        same_best_label: Share of the pictures that both give the same label; None where there are no two labels.
        max_abs_diff: Largest difference of an embedding's component.
        min_cosine: Of a picture's two embeddings.
    """

    mean_auc_difference: Figure | None
    same_best_label: float | None
    max_abs_diff: float
    min_cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFigures:
    """One test set: the pictures of one source.

    Attributes:
        name: The source; empty where the table names none.
        images: Pictures measured.
        scored: Those among them with a label that is scored.
        onnxruntime: The bundle.
        pytorch: The checkpoint; None when none was given.
        agreement: None when no checkpoint was given.
    """

    name: str
    images: int
    scored: int
    onnxruntime: SideFigures
    pytorch: SideFigures | None
    agreement: PairFigures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The figures of a bundle on labelled pictures.

    Attributes:
        model: The bundle's name.
        split: The split that was scored; None for all pictures.
        confidence: Of all intervals.
        sets: One a source, in the table's order.
        measured_with: Processor, threads, provider, versions and what else the times depend on.
    """

    model: str
    split: str | None
    confidence: float
    sets: tuple[SetFigures, ...]
    measured_with: Mapping[str, str | int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)
