"""Statistics on numpy alone: scores, intervals, thresholds, calibration, retrieval, permutation tests."""

from __future__ import annotations

from medimageinsight.metrics.bootstrap import Figure, bootstrap_figure, draw_bootstrap_weights, resampled_means
from medimageinsight.metrics.calibration import calibration_error, fit_temperature, log_loss
from medimageinsight.metrics.heads import Layer, activate, head_logits, softmax
from medimageinsight.metrics.patients import number_patients
from medimageinsight.metrics.permutation import draw_swaps, holm_adjust, permutation_p_value
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import (
    accuracy,
    one_vs_rest_auc,
    precision_at_k,
    recall_at_k,
    roc_auc,
    roc_corners,
    weighted_roc_auc,
)
from medimageinsight.metrics.thresholds import (
    Criterion,
    ThresholdFigures,
    choose_threshold,
    score_threshold,
    wilson_interval,
)
from medimageinsight.metrics.vectors import cosine_similarity, normalize, unit_rows

__all__ = [
    "Criterion",
    "Figure",
    "Layer",
    "ThresholdFigures",
    "accuracy",
    "activate",
    "bootstrap_figure",
    "calibration_error",
    "choose_threshold",
    "cosine_similarity",
    "draw_bootstrap_weights",
    "draw_swaps",
    "fit_temperature",
    "has_relevant",
    "head_logits",
    "holm_adjust",
    "log_loss",
    "nearest",
    "normalize",
    "number_patients",
    "one_vs_rest_auc",
    "permutation_p_value",
    "precision_at_k",
    "recall_at_k",
    "resampled_means",
    "roc_auc",
    "roc_corners",
    "same_label",
    "score_threshold",
    "softmax",
    "unit_rows",
    "weighted_roc_auc",
    "wilson_interval",
]
