"""Tasks on embeddings, as pure functions of arrays: zero-shot, neighbours, studies, outliers, drift."""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.metrics.vectors import cosine_similarity, normalize
from medimageinsight.prompts import Labels, fill_template, label_prompts
from medimageinsight.tasks.compare import compare_studies, study_vector
from medimageinsight.tasks.drift import Drift, find_drift
from medimageinsight.tasks.neighbours import (
    Neighbour,
    NeighbourSettings,
    classify_by_neighbours,
    vote_shares,
)
from medimageinsight.tasks.outliers import (
    OutlierResult,
    fit_outliers,
    neighbour_distances,
)
from medimageinsight.tasks.zero_shot import Text, ZeroShotResult, classify_vectors, mean_by_label, probabilities

__all__ = [
    "Drift",
    "Labels",
    "Neighbour",
    "NeighbourSettings",
    "OutlierResult",
    "Text",
    "ZeroShotResult",
    "classify_by_neighbours",
    "classify_vectors",
    "compare_studies",
    "cosine_similarity",
    "fill_template",
    "find_drift",
    "fit_outliers",
    "label_prompts",
    "mean_by_label",
    "neighbour_distances",
    "normalize",
    "probabilities",
    "study_vector",
    "vote_shares",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
