"""Results of a bundle on labelled images, alone or compared with its checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.evaluate.scoring import score_findings
from medimageinsight.evaluate.zero_shot import ensemble_prompts
from medimageinsight.metrics import difference_figure
from medimageinsight.metrics.intervals import resampled_correlation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.evaluation_data import EvaluationData
    from medimageinsight.evaluate.scoring import ScoredFindings
    from medimageinsight.metrics import Figure
    from medimageinsight.metrics.scores import Floats, Integers


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


def score_source(name: str, data: Sequence[EvaluationData], milliseconds: Sequence[Floats]) -> SourceResult:
    """Score one source; the first data and times (N,) are the bundle's, the second, if given, the checkpoint's."""
    rows = data[0].rows_of(name)
    labels = [label for label in data[0].finding_labels if data[0].label_names[label][0] == name]
    columns = np.array(labels, dtype=np.int64)  # of the labels that are scored
    findings = [score_findings(embedded, name) for embedded in data]
    results = [
        RuntimeResult(
            milliseconds=float(np.median(times[rows])),
            mean_auc=None if scored is None else scored.figures.mean_auc,
            accuracy=None if scored is None else scored.figures.accuracy,
        )
        for times, scored in zip(milliseconds, findings, strict=True)
    ]
    return SourceResult(
        name=name,
        images=len(rows),
        scored=int(np.isin(data[0].labels[rows], columns).sum()),
        onnxruntime=results[0],
        pytorch=results[1] if len(results) > 1 else None,
        agreement=_compare(data, rows, columns, findings) if len(data) > 1 else None,
    )


def _compare(
    data: Sequence[EvaluationData], rows: Integers, columns: Integers, findings: Sequence[ScoredFindings | None]
) -> RuntimeComparison:
    bundle, original = (embedded.images[rows].astype(np.float64) for embedded in data)
    same_best_label = None
    if len(columns) > 1:
        classes = [ensemble_prompts(embedded.prompts, embedded.prompt_labels[:, columns]) for embedded in data]
        best = (bundle @ classes[0].T).argmax(axis=1), (original @ classes[1].T).argmax(axis=1)
        same_best_label = float(np.mean(best[0] == best[1]))
    return RuntimeComparison(
        mean_auc_difference=_subtract(*findings),
        same_best_label=same_best_label,
        max_abs_diff=float(np.abs(bundle - original).max()),
        min_cosine=float((bundle * original).sum(axis=1).min()),
    )


def _subtract(bundle: ScoredFindings | None, original: ScoredFindings | None) -> Figure | None:
    """Subtract the mean AUCs; both have the same resamples, because they have the same images and seed."""
    if bundle is None or original is None:
        return None
    aucs = bundle.figures.mean_auc, original.figures.mean_auc
    if aucs[0] is None or aucs[1] is None:
        return None
    correlation = resampled_correlation(bundle.resampled, original.resampled)
    return difference_figure(aucs[0], aucs[1], correlation=correlation)
