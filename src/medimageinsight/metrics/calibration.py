"""Calibration of probabilities: temperature scaling, calibration error and log loss (arXiv 1706.04599)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.heads import cross_entropy, weighted_mean
from medimageinsight.metrics.scores import safe_ratio

if TYPE_CHECKING:
    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights

BINS = 10  # of equal width
_LOG_TEMPERATURE_RANGE = (-3.0, 3.0)  # separable data would want a temperature of 0
_SEARCH_STEPS = 60  # of a golden-section search, which leaves 6 x 0.618 ** 60 of the range
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_MIN_SCORED_PROBABILITY = 1e-6  # in a log loss: a vote of few neighbours often is 0
_MIN_PROBABILITY = 1e-12  # before a logarithm


def fit_temperature(logits: Floats, truth: Floats, weights: Floats, outputs: Outputs) -> float:
    """Return the temperature T, between 0.05 and 20, with the lowest mean loss of ``logits / T``.

    The loss is convex in 1 / T, so it has one minimum, which a golden-section search finds. Logits (N, L) are of images
    that were not trained on, ``truth`` is (N, L) of 0 and 1, and ``weights`` are those of `class_weights`.
    """

    def loss(log_temperature: float) -> float:
        return weighted_mean(cross_entropy(logits / np.exp(log_temperature), truth, outputs), weights)

    low, high = _LOG_TEMPERATURE_RANGE
    for _ in range(_SEARCH_STEPS):
        left, right = high - _GOLDEN_RATIO * (high - low), low + _GOLDEN_RATIO * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_probabilities(probabilities: Floats) -> Floats:
    """Return finite logarithms of probabilities, which serve as logits: (N, K) float64."""
    return np.log(np.maximum(probabilities, _MIN_PROBABILITY))


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return (N, K) probabilities with their logits divided by a temperature."""
    powers = np.maximum(probabilities, _MIN_PROBABILITY) ** (1 / temperature)
    scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def log_loss(probabilities: Floats, truth: Integers) -> Floats:
    """Return the log loss, (N,) in nats, of (N, K) probabilities and true columns (N,)."""
    return -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _MIN_SCORED_PROBABILITY))


def calibration_error(confidence: Floats, correct: Flags) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over bins of confidence.

    0 is best. ``confidence`` is (N,), 0 to 1, the probability of each prediction; ``correct`` is (N,).
    """
    gaps = np.bincount(confidence_bins(confidence), weights=confidence - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def resampled_calibration_errors(confidence: Floats, correct: Flags, weights: Weights) -> Floats:
    """Return `calibration_error` in each resample of (R, N) weights: (R,), NaN where nothing was drawn."""
    in_bin = np.eye(BINS)[confidence_bins(confidence)]  # (N, bins)
    exact = weights.astype(np.float64)
    errors: Floats = np.abs((exact * (confidence - correct)) @ in_bin).sum(axis=1)
    return safe_ratio(errors, exact.sum(axis=1))


def confidence_bins(confidence: Floats) -> Integers:
    """Return the bin, 0 to 9, of each confidence: (N,) int64."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
