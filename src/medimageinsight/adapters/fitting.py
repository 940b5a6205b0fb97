"""Fit heads on embeddings: logistic regression by scikit-learn, a small network with Adam in numpy.

Both use centred vectors with a root mean square length of 1 and the validation loss: the first to choose its L2
penalty, the second to stop. The centring is folded into the first layer, so that a head takes unchanged embeddings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medimageinsight.errors import InputError, missing_extra
from medimageinsight.metrics.heads import Layer, activate, class_weights, cross_entropy, head_logits, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats

    Float32Array = NDArray[np.float32]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of Adam, arXiv 1412.6980
_MIN_IMPROVEMENT = 1e-4  # of the validation loss, in nats


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """How to train an adapter: ``AdapterSettings(kind="mlp", balanced=True)``.

    Attributes:
        kind: ``linear``, multinomial logistic regression, or ``mlp``, with one hidden layer.
        balanced: Give rare labels the weight of common ones. Probabilities are then those of a population with equally
            common labels; otherwise of the training images' population.
        inverse_penalties: linear: the values of C = 1 / (L2 penalty) to choose from by the validation loss.
        hidden: mlp: width of the hidden layer.
        learning_rate: mlp: of Adam.
        weight_decay: mlp: decoupled, multiplied by the learning rate (arXiv 1711.05101).
        batch_size: mlp: images in each step.
        epochs: mlp: maximum number.
        patience: mlp: epochs without a lower validation loss before training stops.
        seed: mlp: of the initial weights and the order of images.
        resamples: Of the bootstrap intervals of the figures.
        confidence: Of these intervals.

    Raises:
        InputError: A value is out of range (``adapter_settings_invalid``).
    """

    kind: Literal["linear", "mlp"] = "linear"
    balanced: bool = False
    inverse_penalties: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    hidden: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    batch_size: int = 128
    epochs: int = 200
    patience: int = 15
    seed: int = 0
    resamples: int = 1000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "mlp"):
            raise _invalid("a kind of linear or mlp", self.kind)
        if not self.inverse_penalties or min(self.inverse_penalties) <= 0:
            raise _invalid("inverse penalties above 0", self.inverse_penalties)
        for name in ("hidden", "batch_size", "epochs", "patience", "resamples"):
            if getattr(self, name) < 1:
                raise _invalid(f"{name} of 1 or more", getattr(self, name))
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 < self.confidence < 1:
            raise _invalid(
                "a learning rate above 0, a weight decay of 0 or more and a confidence between 0 and 1",
                (self.learning_rate, self.weight_decay, self.confidence),
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittingData:
    """One part of the data as arrays: vectors (N, D), truth (N, L) of 0 and 1, weights of `class_weights`."""

    vectors: NDArray[np.float32]
    truth: Floats
    weights: Floats

    @classmethod
    def of(
        cls,
        vectors: NDArray[np.float32],
        truth: Floats,
        outputs: Outputs,
        *,
        balanced: bool,
        known: Flags | None = None,
    ) -> FittingData:
        """Return the data with their class weights, 0 for labels that are not ``known`` (N, L), of sigmoids."""
        weights = class_weights(truth, outputs, balanced=balanced)
        return cls(
            vectors=vectors, truth=truth, weights=weights if known is None or outputs == "softmax" else weights * known
        )


def fit_linear(
    train: FittingData, validation: FittingData, outputs: Outputs, settings: AdapterSettings
) -> tuple[Layer, ...]:
    """Fit a logistic regression for each L2 penalty and return the one with the lowest validation loss.

    Raises:
        MissingExtraError: Without scikit-learn.
    """
    mean, scale = _mean_and_scale(train.vectors)
    inputs = (train.vectors - mean) / scale
    heads = (_fold_centring(head, mean, scale) for head in _regressions(inputs, train, outputs, settings))
    return min(heads, key=lambda layers: _loss(layers, validation, outputs))


def _regressions(
    inputs: NDArray[np.float32], train: FittingData, outputs: Outputs, settings: AdapterSettings
) -> Iterator[tuple[Floats, Floats]]:
    """Yield weight (D, L) and bias (L,) for each penalty, the strongest first; each fit starts from the last one."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise missing_extra("evaluate", "training a linear adapter") from None
    columns = range(train.truth.shape[1]) if outputs == "sigmoid" else (None,)
    models = [LogisticRegression(warm_start=True, max_iter=300) for _ in columns]
    for inverse in sorted(settings.inverse_penalties):
        for column, model in zip(columns, models, strict=True):
            model.set_params(C=inverse)
            target = train.truth.argmax(axis=1) if column is None else train.truth[:, column]
            weights = train.weights[:, 0 if column is None else column]
            with warnings.catch_warnings():
                # Weak penalties on separable data do not converge; the validation loss judges the result.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(inputs, target, sample_weight=weights)
        weight = np.concatenate([model.coef_ for model in models]).T.astype(np.float64)
        bias = np.concatenate([model.intercept_ for model in models]).astype(np.float64)
        if outputs == "softmax" and weight.shape[1] == 1:  # two labels: a sigmoid is a softmax of its halves
            weight, bias = weight * (-0.5, 0.5), bias * (-0.5, 0.5)
        yield weight, bias


def fit_mlp(
    train: FittingData, validation: FittingData, outputs: Outputs, settings: AdapterSettings
) -> tuple[Layer, ...]:
    """Fit one hidden layer with ReLU by Adam with decoupled weight decay; the lowest validation loss is returned."""
    mean, length = _mean_and_scale(train.vectors)
    scale = length / np.sqrt(train.vectors.shape[1])  # values near 1 suit the usual initial weights
    inputs = (train.vectors - mean) / np.float32(scale)
    generator = np.random.default_rng(settings.seed)
    parameters = _initial_parameters(inputs.shape[1], settings.hidden, train.truth.shape[1], generator)
    moments = [(np.zeros_like(value), np.zeros_like(value)) for value in parameters]
    truth = train.truth.astype(np.float32)
    weights = (train.weights / train.weights.mean()).astype(np.float32)
    best_loss, best_parameters, waited, step = np.inf, parameters, 0, 0
    for _ in range(settings.epochs):
        order = generator.permutation(len(inputs))
        for start in range(0, len(order), settings.batch_size):
            rows = order[start : start + settings.batch_size]
            step += 1
            gradients = _gradients(parameters, inputs[rows], truth[rows], weights[rows], outputs)
            parameters = _adam(parameters, gradients, moments, step, settings)
        loss = _loss(_fold_centring(parameters, mean, scale), validation, outputs)
        waited += 1
        if loss < best_loss - _MIN_IMPROVEMENT:
            best_loss, best_parameters, waited = loss, parameters, 0
        elif waited >= settings.patience:
            break
    return _fold_centring(best_parameters, mean, scale)


def _initial_parameters(inputs: int, hidden: int, outputs: int, generator: np.random.Generator) -> list[Float32Array]:
    """Return He's initialisation of the hidden layer (arXiv 1502.01852), and zeros: all labels start equal."""
    first = generator.standard_normal((inputs, hidden), dtype=np.float32) * np.float32(np.sqrt(2 / inputs))
    return [first, *(np.zeros(shape, dtype=np.float32) for shape in (hidden, (hidden, outputs), outputs))]


def _gradients(
    parameters: list[Float32Array], inputs: Float32Array, truth: Float32Array, weights: Float32Array, outputs: Outputs
) -> list[Float32Array]:
    """Return the gradients of the mean weighted cross entropy of a batch."""
    first, first_bias, last, last_bias = parameters
    preactivation = inputs @ first + first_bias  # (B, hidden)
    hidden = np.maximum(preactivation, 0.0)
    error = (activate(hidden @ last + last_bias, outputs) - truth) * weights / len(inputs)  # (B, L)
    hidden_error = (error @ last.T) * (preactivation > 0)
    return [inputs.T @ hidden_error, hidden_error.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def _adam(
    parameters: list[Float32Array],
    gradients: list[Float32Array],
    moments: list[tuple[Float32Array, Float32Array]],
    step: int,
    settings: AdapterSettings,
) -> list[Float32Array]:
    """Return the parameters after one step; the moments are updated in place."""
    updated = []
    for index, (value, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        first, second = moments[index]
        first = first + (1 - _BETAS[0]) * (gradient - first)
        second = second + (1 - _BETAS[1]) * (gradient**2 - second)
        moments[index] = (first, second)
        update = (first / (1 - _BETAS[0] ** step)) / (np.sqrt(second / (1 - _BETAS[1] ** step)) + _EPSILON)
        decay = settings.weight_decay if value.ndim == 2 else 0.0
        updated.append((value - settings.learning_rate * (update + decay * value)).astype(np.float32))
    return updated


def _mean_and_scale(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return the mean vector (D,) and the root mean square length of the centred vectors."""
    mean = vectors.mean(axis=0)
    length = float(np.sqrt(np.mean(np.sum((vectors - mean) ** 2, axis=1))))
    return mean, max(length, 1e-6)


def _fold_centring(
    parameters: Sequence[Floats | Float32Array], mean: NDArray[np.float32], scale: float
) -> tuple[Layer, ...]:
    """Return layers for ``vectors`` from the weight and bias of each layer for ``(vectors - mean) / scale``."""
    weight, bias, *others = parameters
    scaled = weight / scale
    arrays = [scaled, bias - mean.astype(np.float64) @ scaled, *others]
    return tuple(
        Layer(weight=weight.astype(np.float32), bias=bias.astype(np.float32))
        for weight, bias in zip(arrays[::2], arrays[1::2], strict=True)
    )


def _loss(layers: tuple[Layer, ...], data: FittingData, outputs: Outputs) -> float:
    return weighted_mean(cross_entropy(head_logits(layers, data.vectors), data.truth, outputs), data.weights)


def _invalid(expected: str, got: object) -> InputError:
    return InputError(f"expected {expected}, got {got}", code="adapter_settings_invalid")
