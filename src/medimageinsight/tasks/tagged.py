"""Images with their tags, each judged by its own threshold: what a tagger or a ready-made vocabulary says of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.tasks.tagging import Tagger
from medimageinsight.tasks.vocabularies import term_probabilities, vocabulary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medimageinsight.tasks.tagging import EmbedTexts

TERM_THRESHOLD = 0.5  # of a vocabulary's probabilities, which sum to 1: at most one term reaches it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """One tag of one image: its score, the threshold, and whether the score reaches it."""

    score: float
    threshold: float
    present: bool

    def to_dict(self) -> dict[str, Any]:
        """``{"score", "threshold", "present"}``, the form of the JSON documents."""
        return asdict(self)


def tag_vectors(
    vectors: ArrayLike,
    tags: str | Tagger,
    *,
    embed_texts: EmbedTexts,
    logit_scale: float,
    model: str = "",
    threshold: float | None = None,
) -> list[dict[str, Tagged]]:
    """Tags of embeddings (N, D), by name.

    Args:
        vectors: Of images.
        tags: The name of a vocabulary, or a tagger of the same model.
        embed_texts: The model's.
        logit_scale: The model's, a logarithm.
        model: The model's name, see `vocabulary`.
        threshold: Of a vocabulary's probabilities, 0.5 when not given; a tagger has its own.

    Raises:
        InputError: ``vocabulary_unknown``, ``threshold_invalid``, embeddings that do not fit or are not finite.
    """
    if isinstance(tags, Tagger):
        if threshold is not None:
            raise InputError("expected no threshold with a tagger: each of its tags has one", code="threshold_invalid")
        names, thresholds = tags.names, tags.thresholds
        scores = tags.scores(vectors, embed_texts, logit_scale)
    else:
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"expected a threshold from 0 to 1, got {threshold}", code="threshold_invalid")
        terms = vocabulary(tags, model=model)
        names = tuple(terms)
        thresholds = np.full(len(names), TERM_THRESHOLD if threshold is None else threshold)
        scores = term_probabilities(vectors, terms, embed_texts, logit_scale)
    return [
        {
            name: Tagged(score=score, threshold=limit, present=score >= limit)
            for name, score, limit in zip(names, row, thresholds.tolist(), strict=True)
        }
        for row in scores.tolist()
    ]
