"""Statistics on numpy alone: scores, intervals, thresholds, calibration, retrieval, permutation tests."""

from __future__ import annotations

from medimageinsight.metrics.average_precision import average_precision, average_precision_figure
from medimageinsight.metrics.bootstrap import Figure, bootstrap_figure, draw_bootstrap_weights, resampled_means
from medimageinsight.metrics.intervals import (
    MIN_POSITIVES,
    auc_figure,
    combine_figures,
    difference_figure,
    mean_figure,
    share_figure,
)
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import one_vs_rest_auc, precision_at_k, recall_at_k, roc_auc
from medimageinsight.metrics.thresholds import (
    Criterion,
    ThresholdFigures,
    choose_threshold,
    score_threshold,
    wilson_interval,
)
from medimageinsight.metrics.vectors import cosine_similarity, normalize, shortest_floats

__all__ = [
    "MIN_POSITIVES",
    "Criterion",
    "Figure",
    "ThresholdFigures",
    "auc_figure",
    "average_precision",
    "average_precision_figure",
    "bootstrap_figure",
    "choose_threshold",
    "combine_figures",
    "cosine_similarity",
    "difference_figure",
    "draw_bootstrap_weights",
    "has_relevant",
    "mean_figure",
    "nearest",
    "normalize",
    "one_vs_rest_auc",
    "precision_at_k",
    "recall_at_k",
    "resampled_means",
    "roc_auc",
    "same_label",
    "score_threshold",
    "share_figure",
    "shortest_floats",
    "wilson_interval",
]
