"""Vectors of studies, and the comparison of a study with a prior study.

To compare two images, an image and a text, or all pairs of a set, `cosine_similarity` is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.vectors import cosine_similarity, normalize, unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MIN_LENGTH = 1e-6  # the mean of opposite directions has no direction


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyComparison:
    """The comparison of a current study of C images with a prior study of P images."""

    similarity: float  # cosine of the two study vectors
    pairs: NDArray[np.float32]  # (C, P), cosine of every current with every prior image
    nearest: NDArray[np.int64]  # (C,), the most similar prior image of each current image
    novelty: NDArray[np.float32]  # (C,), 1 - cosine to that image: high where the prior study has no similar image


def study_vector(vectors: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float32]:
    """Return the normalised mean (D,) float32 of the embeddings (N, D) of a study's images.

    The weights (N,) of the images are 0 or more, at least one above 0; equal by default.

    Raises:
        InputError: No images (``study_empty``), invalid weights (``weights_invalid``), vectors that cancel each other
            out (``study_without_direction``), are misshapen or not finite.
    """
    rows = unit_rows(vectors).astype(np.float64)
    if not len(rows):
        raise InputError("expected at least one image in the study, got none", code="study_empty")
    share = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(rows),) or not np.isfinite(share).all() or share.min() < 0 or share.sum() <= 0:
        raise InputError(
            f"expected {len(rows)} finite weights of 0 or more, at least one above 0, got shape {share.shape}, "
            f"sum {share.sum():g}, minimum {share.min(initial=np.inf):g}",
            code="weights_invalid",
        )
    mean = share @ rows / share.sum()
    if np.linalg.norm(mean) < _MIN_LENGTH:
        raise InputError(
            "expected images with a common direction, got images that cancel each other out: compare single images",
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
    """Compare a study (C, D) with a prior study (P, D), with weights as in `study_vector`.

    Raises:
        InputError: As `study_vector`, or vectors of different lengths.
    """
    prior_vector, current_vector = study_vector(prior, prior_weights), study_vector(current, current_weights)
    pairs = cosine_similarity(unit_rows(current), unit_rows(prior))
    nearest = pairs.argmax(axis=1)
    return StudyComparison(
        similarity=float(cosine_similarity(prior_vector, current_vector)),
        pairs=pairs,
        nearest=nearest,
        novelty=1 - pairs[np.arange(len(pairs)), nearest],
    )
