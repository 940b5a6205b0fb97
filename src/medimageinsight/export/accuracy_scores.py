"""Scoring the embeddings of one source, and comparing those of the bundle with its checkpoint's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.scoring import score_findings
from medimageinsight.evaluate.zero_shot import ensemble_prompts
from medimageinsight.export.accuracy_results import RuntimeComparison, RuntimeResult, SourceResult
from medimageinsight.metrics import bootstrap_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.data import EvaluationData
    from medimageinsight.evaluate.scoring import ScoredFindings
    from medimageinsight.export.encoder_runs import EncoderRun
    from medimageinsight.metrics import Figure
    from medimageinsight.metrics.scores import Integers


def score_source(name: str, data: Sequence[EvaluationData], runs: Sequence[EncoderRun]) -> SourceResult:
    """Score one source; the first data and run are the bundle's, the second, if given, the checkpoint's."""
    rows = data[0].rows_of(name)
    columns = _find_label_columns(data[0], name)
    findings = [score_findings(embedded, name) for embedded in data]
    results = [_summarize(run, rows, scored) for run, scored in zip(runs, findings, strict=True)]
    return SourceResult(
        name=name,
        images=len(rows),
        scored=int(np.isin(data[0].labels[rows], columns).sum()),
        onnxruntime=results[0],
        pytorch=results[1] if len(results) > 1 else None,
        agreement=_compare(data, rows, columns, findings) if len(data) > 1 else None,
    )


def _find_label_columns(data: EvaluationData, source: str) -> Integers:
    """Return the columns of a source's labels that are scored."""
    return np.array([label for label in data.finding_labels if data.label_names[label][0] == source], dtype=np.int64)


def _summarize(run: EncoderRun, rows: Integers, scored: ScoredFindings | None) -> RuntimeResult:
    return RuntimeResult(
        milliseconds=float(np.median(run.milliseconds[rows])),
        mean_auc=None if scored is None else scored.figures.mean_auc,
        accuracy=None if scored is None else scored.figures.accuracy,
    )


def _compare(
    data: Sequence[EvaluationData], rows: Integers, columns: Integers, findings: Sequence[ScoredFindings | None]
) -> RuntimeComparison:
    bundle, original = (embedded.images[rows].astype(np.float64) for embedded in data)
    best = [_find_best_labels(embedded, rows, columns) for embedded in data] if len(columns) > 1 else []
    return RuntimeComparison(
        mean_auc_difference=_subtract(*findings, confidence=data[0].settings.confidence),
        same_best_label=float(np.mean(best[0] == best[1])) if best else None,
        max_abs_diff=float(np.abs(bundle - original).max()),
        min_cosine=float((bundle * original).sum(axis=1).min()),
    )


def _subtract(bundle: ScoredFindings | None, original: ScoredFindings | None, *, confidence: float) -> Figure | None:
    """Subtract the mean AUCs; both have the same resamples, because they have the same images and seed."""
    if bundle is None or original is None:
        return None
    value = bundle.figures.mean_auc.value - original.figures.mean_auc.value
    resampled = bundle.resampled - original.resampled
    return bootstrap_figure(value, resampled, count=bundle.figures.mean_auc.count, confidence=confidence)


def _find_best_labels(data: EvaluationData, rows: Integers, columns: Integers) -> Integers:
    """Return the index among the (L,) label columns of the label nearest to each image, (rows,)."""
    classes = ensemble_prompts(data.prompts, data.prompt_labels[:, columns])  # (L, D)
    best: Integers = (data.images[rows].astype(np.float64) @ classes.T).argmax(axis=1)
    return best
