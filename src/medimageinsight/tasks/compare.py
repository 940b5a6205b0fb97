"""Studies as vectors, and a study beside the one before it.

Two images, an image and a text, or all pairs of a set need no more than `cosine_similarity`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.vectors import cosine_similarity, normalize, unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SHORTEST = 1e-6  # a mean of opposite directions has no direction


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyComparison:
    """A current study of C images beside a prior one of P.

    Attributes:
        similarity: Cosine of the two study vectors.
        pairs: (C, P) float32, cosine of every current with every prior image.
        nearest: (C,) int64, the prior image that each current image is most like.
        novelty: (C,) float32, 1 - cosine to that one: high where the prior study shows nothing like it.
    """

    similarity: float
    pairs: NDArray[np.float32]
    nearest: NDArray[np.int64]
    novelty: NDArray[np.float32]


def study_vector(vectors: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float32]:
    """One vector (D,) float32 of length 1 for the images of a study (N, D): their mean, normalised.

    Args:
        vectors: At least one.
        weights: (N,), 0 or more, some above 0: how much each image counts; equal when not given.

    Raises:
        InputError: No images (``study_empty``), weights that cannot be (``weights_invalid``), vectors that cancel each
            other out (``study_without_direction``), are misshapen or not finite.
    """
    rows = unit_rows(vectors).astype(np.float64)
    if not len(rows):
        raise InputError("expected at least one image in the study, got none", code="study_empty")
    share = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(rows),) or not np.isfinite(share).all() or share.min() < 0 or share.sum() <= 0:
        raise InputError(
            f"expected {len(rows)} finite weights of 0 or more, one above 0, got shape {share.shape}",
            code="weights_invalid",
        )
    mean = share @ rows / share.sum()
    if np.linalg.norm(mean) < _SHORTEST:
        raise InputError(
            "expected images that share a direction, got ones that cancel each other out: compare them one by one",
            code="study_without_direction",
        )
    return normalize(mean).astype(np.float32)


def compare_studies(
    prior: ArrayLike,
    current: ArrayLike,
    *,
    prior_weights: ArrayLike | None = None,
    current_weights: ArrayLike | None = None,
) -> StudyComparison:
    """How a study differs from the one before it.

    Args:
        prior: (P, D).
        current: (C, D).
        prior_weights: (P,), as in `study_vector`.
        current_weights: (C,).

    Raises:
        InputError: As `study_vector`, or vectors of different lengths.
    """
    before, now = study_vector(prior, prior_weights), study_vector(current, current_weights)
    pairs = cosine_similarity(unit_rows(current), unit_rows(prior))
    nearest = pairs.argmax(axis=1)
    return StudyComparison(
        similarity=float(cosine_similarity(before, now)),
        pairs=pairs,
        nearest=nearest,
        novelty=1 - pairs[np.arange(len(pairs)), nearest],
    )
