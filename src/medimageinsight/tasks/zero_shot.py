"""Zero-shot classification: each label is a text, and an image belongs to the most similar text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.heads import softmax
from medimageinsight.metrics.vectors import cosine_similarity, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Text:
    """A string that is a text to embed, not the path of an image: ``Text("x-ray chest")``."""

    text: str


def probabilities(images: ArrayLike, texts: ArrayLike, logit_scale: float) -> NDArray[np.float32]:
    """Compute ``softmax(exp(logit_scale) * images . texts)`` over the texts, in float64.

    Return (N, L) float32, rows sum to 1, for images (N, D) and texts (L, D); (L,) for a single image (D,).

    Raises:
        InputError: The shapes do not fit (``embeddings_bad_shape``).
    """
    logits = np.exp(logit_scale) * cosine_similarity(images, texts).astype(np.float64)
    return softmax(logits).astype(np.float32)


def mean_by_label(embeddings: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """Return the normalised mean embedding of each label's prompts, (L, D): CLIP's prompt ensemble.

    The embeddings (sum of counts, D) are those of the first label's prompts first, ``counts[0]`` of them.
    """
    starts = np.cumsum([0, *counts[:-1]])
    return normalize(np.add.reduceat(normalize(embeddings), starts, axis=0)).astype(np.float32)
