"""Classification without training: each label is a text, and an image belongs to the text it lies nearest to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.heads import softmax
from medimageinsight.metrics.vectors import cosine_similarity, normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def probabilities(images: ArrayLike, texts: ArrayLike, logit_scale: float) -> NDArray[np.float32]:
    """``softmax(exp(logit_scale) * images . texts)`` over the texts, computed in float64.

    Args:
        images: Embeddings (N, D), or one (D,).
        texts: Embeddings (L, D), one for each label.
        logit_scale: A logarithm, as a manifest and the scoring endpoint give it.

    Returns:
        (N, L) float32, rows sum to 1; (L,) for one image.

    Raises:
        InputError: The shapes do not fit (``embeddings_bad_shape``).
    """
    logits = np.exp(logit_scale) * cosine_similarity(images, texts).astype(np.float64)
    return softmax(logits).astype(np.float32)


def mean_by_label(embeddings: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.float32]:
    """One embedding (L, D) for each label: the mean of its prompts', normalised again (the prompt ensemble of CLIP).

    Args:
        embeddings: (sum of counts, D), the prompts of the first label first.
        counts: How many prompts each label has.
    """
    starts = np.cumsum([0, *counts[:-1]])
    return normalize(np.add.reduceat(normalize(embeddings), starts, axis=0)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Text:
    """Says of a string that it is a text to embed, not the path of an image: ``Text("x-ray chest")``."""

    text: str
