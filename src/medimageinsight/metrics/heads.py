"""A head on frozen embeddings, in numpy: one linear layer, or two with a ReLU between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.metrics.scores import Floats


Outputs: TypeAlias = Literal["softmax", "sigmoid"]
"""Softmax for labels that exclude each other, sigmoid for labels that do not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """``inputs @ weight + bias``: weight (inputs, outputs) and bias (outputs,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def head_logits(layers: Sequence[Layer], vectors: NDArray[np.float32]) -> Floats:
    """Return the logits (N, L), float64, of vectors (N, D)."""
    hidden = vectors.astype(np.float64)
    for index, layer in enumerate(layers):
        if index:
            hidden = np.maximum(hidden, 0.0)
        hidden = hidden @ layer.weight + layer.bias
    return hidden


def activate(logits: NDArray[np.floating[Any]], outputs: Outputs) -> Floats:
    """Return the probabilities (N, L) of logits (N, L), without overflow."""
    if outputs == "softmax":
        return softmax(logits)
    powers = np.exp(-np.abs(logits))
    probabilities: Floats = np.where(logits >= 0, 1.0, powers) / (1.0 + powers)
    return probabilities


def softmax(logits: NDArray[np.floating[Any]]) -> Floats:
    """Return the probabilities of logits (..., L) over the last axis, without overflow; L may be 0.

    float64, since confident predictions would round to ties in float32, and ties change an AUC.
    """
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True, initial=-np.inf))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def cross_entropy(logits: Floats, truth: Floats, outputs: Outputs) -> Floats:
    """Return the cross entropy in nats, (N, 1) for a softmax, (N, L) for sigmoids; ``truth`` is (N, L) of 0 and 1."""
    if outputs == "sigmoid":
        return np.logaddexp(0.0, logits) - truth * logits
    largest = logits.max(axis=1, keepdims=True)
    log_sum = largest + np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    categorical: Floats = log_sum - (truth * logits).sum(axis=1, keepdims=True)
    return categorical


def weighted_mean(values: Floats, weights: Floats) -> float:
    """Return the mean of losses under the weights of `class_weights`."""
    return float((values * weights).sum() / weights.sum())


def class_weights(truth: Floats, outputs: Outputs, *, balanced: bool) -> Floats:
    """Return the weight of each loss: (N, 1) for a softmax, (N, L) for sigmoids; ones unless ``balanced``.

    Balanced, every label has the same total weight, and for sigmoids the images with a label have the same total weight
    as those without it. A label without images has no weight.
    """
    count, positives = len(truth), np.maximum(truth.sum(axis=0), 1.0)
    weights: Floats
    if not balanced:
        weights = np.ones_like(truth) if outputs == "sigmoid" else np.ones((count, 1))
    elif outputs == "sigmoid":
        negatives = np.maximum((1.0 - truth).sum(axis=0), 1.0)
        weights = np.where(truth > 0, count / (2 * positives), count / (2 * negatives))
    else:
        weights = (truth @ (count / (truth.shape[1] * positives)))[:, None]
    return weights
