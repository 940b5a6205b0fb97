"""What embeddings are good for: pure functions of arrays."""

from __future__ import annotations

from medimageinsight.tasks.similarity import cosine_similarity, normalize
from medimageinsight.tasks.text import Text
from medimageinsight.tasks.zero_shot import (
    Labels,
    fill_template,
    label_prompts,
    mean_by_label,
    probabilities,
)

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
