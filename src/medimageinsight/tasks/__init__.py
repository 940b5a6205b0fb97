"""What embeddings are good for: pure functions of arrays."""

from __future__ import annotations

from medimageinsight.metrics.vectors import cosine_similarity, normalize
from medimageinsight.prompts import Labels, fill_template, label_prompts
from medimageinsight.tasks.zero_shot import Text, mean_by_label, probabilities

__all__ = [
    "Labels",
    "Text",
    "cosine_similarity",
    "fill_template",
    "label_prompts",
    "mean_by_label",
    "normalize",
    "probabilities",
]
