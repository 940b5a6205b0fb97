"""Zero-shot classification: each label is a text, and an image belongs to the most similar text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.bundle import warn_of_words
from medimageinsight.metrics.heads import softmax
from medimageinsight.metrics.vectors import cosine_similarity, normalize, shortest_floats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.bundle import ValidationStatistics


@dataclass(frozen=True, slots=True)
class Text:
    """A string that is a text to embed, not the path of an image: ``Text("x-ray chest")``."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ZeroShotResult:
    """Zero-shot classification of one image.

    Attributes:
        probabilities: Label to probability, in the order of the labels. They sum to 1 even if no label fits.
        cosine: The cosine of the image with the most similar label, which shows whether any fits.
        unlike_validation: Whether the image is unlike what the model was checked on, see
            `ValidationStatistics.unlike`; None if the model has no statistics.
        unknown_words: Words of the prompts that the model never learned.
    """

    probabilities: dict[str, float]
    cosine: float
    unlike_validation: bool | None = None
    unknown_words: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The most probable label."""
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the JSON documents; ``warnings`` is left out if there are none."""
        warning = warn_of_words(self.unknown_words)
        return {
            "probabilities": dict(self.probabilities),
            "cosine": self.cosine,
            "unlike_validation": self.unlike_validation,
        } | ({} if warning is None else {"warnings": [warning]})


def classify_vectors(
    images: ArrayLike,
    texts: ArrayLike,
    labels: Sequence[str],
    logit_scale: float,
    *,
    statistics: ValidationStatistics | None = None,
    unknown_words: tuple[str, ...] = (),
) -> list[ZeroShotResult]:
    """Return the classification of embeddings (N, D) by the embeddings of L labels, (L, D).

    Raises:
        InputError: The shapes do not fit (``embeddings_bad_shape``).
    """
    best = cosine_similarity(images, texts).max(axis=1)
    unlike = [None] * len(best) if statistics is None else statistics.unlike(images)
    return [
        ZeroShotResult(
            probabilities=dict(zip(labels, shortest_floats(row), strict=True)),
            cosine=cosine,
            unlike_validation=mark,
            unknown_words=unknown_words,
        )
        for row, cosine, mark in zip(
            probabilities(images, texts, logit_scale), shortest_floats(best), unlike, strict=True
        )
    ]


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
