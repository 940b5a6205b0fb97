"""Decision thresholds: chosen on labelled images by a criterion, and their sensitivity and specificity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.bootstrap import Figure
from medimageinsight.metrics.intervals import wilson_limits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medimageinsight.metrics.scores import Flags, Floats


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """How to choose a threshold: ``Criterion.parse("sensitivity:0.95")``.

    Attributes:
        name: ``youden``: the highest sensitivity + specificity; ``sensitivity``: the highest specificity with at least
            that ``sensitivity``; ``f1``: the highest harmonic mean of precision and sensitivity.
        sensitivity: Only for ``sensitivity``, above 0 and at most 1.

    Raises:
        InputError: ``criterion_invalid``.
    """

    name: Literal["youden", "sensitivity", "f1"] = "youden"
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        needs_value = self.name == "sensitivity"
        if self.name not in ("youden", "sensitivity", "f1") or needs_value != (self.sensitivity is not None):
            raise _invalid_criterion(str(self))
        if self.sensitivity is not None and not 0 < self.sensitivity <= 1:
            raise _invalid_criterion(str(self))

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Parse ``youden``, ``f1`` or ``sensitivity:X``.

        Raises:
            InputError: ``criterion_invalid``.
        """
        name, _, number = text.partition(":")
        try:
            return cls(name=name, sensitivity=float(number) if number else None)  # type: ignore[arg-type]  # checked
        except ValueError:
            raise _invalid_criterion(text) from None

    def __str__(self) -> str:
        return self.name if self.sensitivity is None else f"{self.name}:{self.sensitivity:g}"


@dataclass(frozen=True, kw_only=True)
class ThresholdFigures:
    """Share of positives that a threshold finds, and of negatives that it rejects, on labelled images."""

    positives: int
    negatives: int
    sensitivity: Figure
    specificity: Figure


def choose_threshold(scores: ArrayLike, positives: ArrayLike, criterion: Criterion) -> float:
    """Return the best threshold by a criterion; an image is positive if its score is at least the threshold.

    The threshold is halfway between two of the scores (N,), which are higher for likely positives (N,). Among equally
    good ones the lowest is returned, which finds more.

    Raises:
        InputError: No positives or no negatives (``tag_without_positives``, ``tag_without_negatives``), arrays of
            different shapes or not finite (``scores_bad``).
    """
    values, truth = _validate(scores, positives)
    _check_classes(truth, "validation images", "add some, or leave the tag out")
    order = np.argsort(values, kind="stable")
    cuts, first = np.unique(values[order], return_index=True)  # at each cut, all from index ``first`` on are positive
    true_positives = truth.sum() - np.concatenate([[0], np.cumsum(truth[order])])[first]
    false_positives = (~truth).sum() - np.concatenate([[0], np.cumsum(~truth[order])])[first]
    best = int(np.argmax(_merit(true_positives, false_positives, truth, criterion)))
    if best == 0:
        return float(cuts[0])
    middle = float((cuts[best - 1] + cuts[best]) / 2)
    return middle if middle > cuts[best - 1] else float(cuts[best])


def score_threshold(
    scores: ArrayLike, positives: ArrayLike, threshold: float, *, confidence: float = 0.95
) -> ThresholdFigures:
    """Return the sensitivity and specificity of a threshold on labelled images.

    Raises:
        InputError: As `choose_threshold`.
    """
    values, truth = _validate(scores, positives)
    predicted = values >= threshold
    _check_classes(truth, "images", "add some")
    return ThresholdFigures(
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
        sensitivity=wilson_interval(int((predicted & truth).sum()), int(truth.sum()), confidence=confidence),
        specificity=wilson_interval(int((~predicted & ~truth).sum()), int((~truth).sum()), confidence=confidence),
    )


def wilson_interval(successes: int, count: int, *, confidence: float = 0.95) -> Figure:
    """Return a share with Wilson's score interval, which holds for few images and shares of 0 and 1 (Wilson 1927).

    It assumes independent images; with several images per patient it is too narrow.
    """
    share = successes / count
    low, high = wilson_limits(share, count, confidence)
    return Figure(value=share, low=low, high=high, count=count)


def _merit(true_positives: Floats, false_positives: Floats, truth: Flags, criterion: Criterion) -> Floats:
    """Return how good each cut is; higher is better."""
    sensitivity = true_positives / truth.sum()
    specificity = 1 - false_positives / (~truth).sum()
    merit: Floats
    if criterion.name == "youden":
        merit = sensitivity + specificity
    elif criterion.name == "f1":
        merit = 2 * true_positives / (true_positives + false_positives + truth.sum())
    else:
        merit = np.where(sensitivity >= (criterion.sensitivity or 0.0) - 1e-12, specificity, -1.0)
    return np.round(merit, 12)  # so that rounding does not break ties


def _validate(scores: ArrayLike, positives: ArrayLike) -> tuple[Floats, Flags]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positives, dtype=bool)
    if values.ndim != 1 or values.shape != truth.shape or not np.isfinite(values).all():
        raise InputError(
            f"expected finite scores (N,) and as many flags, got shapes {values.shape} and {truth.shape}",
            code="scores_bad",
        )
    return values, truth


def _check_classes(truth: Flags, images: str, advice: str) -> None:
    if not truth.any():
        raise InputError(f"expected {images} with the tag, got none: {advice}", code="tag_without_positives")
    if truth.all():
        raise InputError(f"expected {images} without the tag, got none: {advice}", code="tag_without_negatives")


def _invalid_criterion(got: str) -> InputError:
    return InputError(
        f"expected the criterion youden, f1 or sensitivity:X with X above 0 and at most 1, got {got!r}",
        code="criterion_invalid",
    )
