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
"""Labels that exclude each other, or that do not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """``inputs @ weight + bias``: weight (inputs, outputs) and bias (outputs,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def logits(layers: Sequence[Layer], vectors: NDArray[np.float32]) -> Floats:
    """(N, L) float64 of vectors (N, D)."""
    hidden = vectors.astype(np.float64)
    for place, layer in enumerate(layers):
        if place:
            hidden = np.maximum(hidden, 0.0)
        hidden = hidden @ layer.weight + layer.bias
    values: Floats = hidden
    return values


def activate(values: NDArray[np.floating[Any]], outputs: Outputs) -> Floats:
    """Probabilities (N, L) of logits (N, L), without overflow."""
    if outputs == "sigmoid":
        small = np.exp(-np.abs(values))
        sides: Floats = np.where(values >= 0, 1.0, small) / (1.0 + small)
        return sides
    return softmax(values)


def losses(values: Floats, truth: Floats, outputs: Outputs) -> Floats:
    """Cross entropy in nats: (N, 1) for a softmax, (N, L) for sigmoids.

    Args:
        values: Logits (N, L).
        truth: (N, L) of 0 and 1.
        outputs: Which.
    """
    if outputs == "sigmoid":
        each: Floats = np.logaddexp(0.0, values) - truth * values
        return each
    largest = values.max(axis=1, keepdims=True)
    total: Floats = largest + np.log(np.exp(values - largest).sum(axis=1, keepdims=True))
    one: Floats = total - (truth * values).sum(axis=1, keepdims=True)
    return one


def weighted_mean(values: Floats, weights: Floats) -> float:
    """Mean of losses under the weights of `class_weights`."""
    return float((values * weights).sum() / weights.sum())


def class_weights(truth: Floats, outputs: Outputs, *, balanced: bool) -> Floats:
    """What each loss counts: (N, 1) for a softmax, (N, L) for sigmoids; ones unless ``balanced``.

    Balanced, all labels together weigh the same, and for sigmoids the images with a label as those without it. A side
    without images weighs nothing.
    """
    count = len(truth)
    if outputs == "sigmoid":
        if not balanced:
            return np.ones_like(truth)
        positives = np.maximum(truth.sum(axis=0), 1.0)
        negatives = np.maximum((1.0 - truth).sum(axis=0), 1.0)
        sides: Floats = np.where(truth > 0, count / (2 * positives), count / (2 * negatives))
        return sides
    if not balanced:
        return np.ones((count, 1))
    of_label = count / (truth.shape[1] * np.maximum(truth.sum(axis=0), 1.0))
    weights: Floats = (truth @ of_label)[:, None]
    return weights


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities of logits (..., L) over the last axis, in float64 and without overflow; none of none.

    float64, since sure predictions would round to ties in float32, and an AUC sees ties.
    """
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True, initial=-np.inf))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares
