"""Temperature scaling: a number that makes probabilities as sure as they are right (arXiv 1706.04599)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.heads import losses, weighted_mean

if TYPE_CHECKING:
    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats

_RANGE = (-3.0, 3.0)  # of log(temperature): separable data would want 0
_STEPS = 60  # of a golden section, which leaves 6 x 0.618 ** 60 of the range
_GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(logits: Floats, truth: Floats, weights: Floats, outputs: Outputs) -> float:
    """The temperature T of the least mean loss of ``logits / T``, between 0.05 and 20.

    The loss is convex in 1 / T, so it has one minimum, which a golden section finds.

    Args:
        logits: (N, L) of images that were not trained on.
        truth: (N, L) of 0 and 1.
        weights: As `class_weights` gives them.
        outputs: Softmax or sigmoid.
    """

    def loss(log_temperature: float) -> float:
        return weighted_mean(losses(logits / np.exp(log_temperature), truth, outputs), weights)

    low, high = _RANGE
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def calibration_error(probabilities: Floats, correct: Flags, *, bins: int = 10) -> float:
    """Expected calibration error: mean distance of confidence and share of correct ones, over bins of confidence.

    Args:
        probabilities: (N,) confidences, 0 to 1.
        correct: (N,) bool, whether what was said so surely is true.
        bins: Of equal width.

    Returns:
        0 is best.
    """
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=probabilities - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(probabilities))
