"""The UniCL objective: image-text-label contrastive learning (arXiv 2204.03610, equations 2 to 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def unicl_loss(images: Tensor, texts: Tensor, log_scale: Tensor, positives: Tensor) -> Tensor:
    """Return the mean of the image-to-text and the text-to-image loss.

    An image can match several texts, and a text several images: those of the same class, or any image for which a less
    specific text is true. Each direction is the cross-entropy against all positives with equal weights.

    Args:
        images: (N, D), L2-normalised.
        texts: (M, D), L2-normalised.
        log_scale: Scalar, logarithm of the inverse temperature.
        positives: (N, M) bool, True if the text is true of the image. Every row and column needs at least one.

    Returns:
        Scalar, float32 or wider.
    """
    logits = log_scale.exp() * images @ texts.T
    return (_cross_entropy(logits, positives) + _cross_entropy(logits.T, positives.T)) / 2


def _cross_entropy(logits: Tensor, positives: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=1)
    weights = positives.to(logits.dtype)
    return -(weights * log_probabilities).sum(dim=1).div(weights.sum(dim=1)).mean()
