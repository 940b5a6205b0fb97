"""From scores to yes or no: a threshold chosen on labelled images, and what it is worth there."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.bootstrap import Figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medimageinsight.metrics.scores import Flags, Floats


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What a good threshold is: ``Criterion.parse("sensitivity:0.95")``.

    Attributes:
        name: ``youden``: the most of sensitivity + specificity; ``sensitivity``: the most specificity of those with at
            least ``sensitivity``; ``f1``: the most of the harmonic mean of precision and sensitivity.
        sensitivity: For ``sensitivity`` alone, above 0 and at most 1.

    Raises:
        InputError: ``criterion_invalid``.
    """

    name: Literal["youden", "sensitivity", "f1"] = "youden"
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        wants = self.name == "sensitivity"
        if self.name not in ("youden", "sensitivity", "f1") or wants != (self.sensitivity is not None):
            raise _no_criterion(str(self))
        if self.sensitivity is not None and not 0 < self.sensitivity <= 1:
            raise _no_criterion(str(self))

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """``youden``, ``f1`` or ``sensitivity:X``.

        Raises:
            InputError: ``criterion_invalid``.
        """
        name, _, number = text.partition(":")
        try:
            return cls(name=name, sensitivity=float(number) if number else None)  # type: ignore[arg-type]  # checked
        except ValueError:
            raise _no_criterion(text) from None

    def __str__(self) -> str:
        return self.name if self.sensitivity is None else f"{self.name}:{self.sensitivity:g}"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a threshold does on labelled images.

    Attributes:
        positives: Images that have the tag.
        negatives: Images that do not.
        sensitivity: Share of the positives that are found.
        specificity: Share of the negatives that are left alone.
    """

    positives: int
    negatives: int
    sensitivity: Figure
    specificity: Figure


def choose_threshold(scores: ArrayLike, positives: ArrayLike, criterion: Criterion) -> float:
    """The threshold that the criterion likes best; an image is positive when its score is at least that.

    It lies halfway between two scores. Of equals the lowest is taken, which finds more.

    Args:
        scores: (N,) float, higher means more likely positive.
        positives: (N,) bool.
        criterion: What to look for.

    Raises:
        InputError: No positives or no negatives (``tag_without_positives``, ``tag_without_negatives``), arrays that do
            not fit or are not finite (``scores_bad``).
    """
    values, truth = _checked(scores, positives)
    if not truth.any():
        raise InputError(
            "expected validation images with the tag, got none: add some, or leave the tag out",
            code="tag_without_positives",
        )
    if truth.all():
        raise InputError(
            "expected validation images without the tag, got none: add some, or leave the tag out",
            code="tag_without_negatives",
        )
    order = np.argsort(values, kind="stable")
    cuts, first = np.unique(values[order], return_index=True)  # at each cut, all from ``first`` on are positive
    found = truth.sum() - np.concatenate([[0], np.cumsum(truth[order])])[first]
    false_alarms = (~truth).sum() - np.concatenate([[0], np.cumsum(~truth[order])])[first]
    best = int(np.argmax(_merit(found, false_alarms, truth, criterion)))
    if best == 0:
        return float(cuts[0])
    middle = float((cuts[best - 1] + cuts[best]) / 2)
    return middle if middle > cuts[best - 1] else float(cuts[best])


def operate(scores: ArrayLike, positives: ArrayLike, threshold: float, *, confidence: float = 0.95) -> Operation:
    """What a threshold does on labelled images.

    Raises:
        InputError: As `choose_threshold`.
    """
    values, truth = _checked(scores, positives)
    said = values >= threshold
    for side, name in ((truth, "with"), (~truth, "without")):
        if not side.any():
            code = "tag_without_positives" if name == "with" else "tag_without_negatives"
            raise InputError(f"expected images {name} the tag, got none: add some", code=code)
    return Operation(
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
        sensitivity=wilson(int((said & truth).sum()), int(truth.sum()), confidence=confidence),
        specificity=wilson(int((~said & ~truth).sum()), int((~truth).sum()), confidence=confidence),
    )


def wilson(successes: int, count: int, *, confidence: float = 0.95) -> Figure:
    """A share with Wilson's score interval, which holds for few images and for shares of 0 and 1 (Wilson 1927).

    It takes images as independent; of several images of one patient it is too narrow.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5 / (1 + z**2 / count)
    low, high = min(share, centre - half), max(share, centre + half)  # rounding leaves shares of 0 and 1 outside
    return Figure(value=share, low=max(0.0, low), high=min(1.0, high), count=count)


def _merit(found: Floats, false_alarms: Floats, truth: Flags, criterion: Criterion) -> Floats:
    """How good each cut is."""
    sensitivity = found / truth.sum()
    specificity = 1 - false_alarms / (~truth).sum()
    merit: Floats
    if criterion.name == "youden":
        merit = sensitivity + specificity
    elif criterion.name == "f1":
        merit = 2 * found / (found + false_alarms + truth.sum())
    else:
        merit = np.where(sensitivity >= (criterion.sensitivity or 0.0) - 1e-12, specificity, -1.0)
    return np.round(merit, 12)  # equals are equal


def _checked(scores: ArrayLike, positives: ArrayLike) -> tuple[Floats, Flags]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positives, dtype=bool)
    if values.ndim != 1 or values.shape != truth.shape or not np.isfinite(values).all():
        raise InputError(
            f"expected finite scores (N,) and as many flags, got shapes {values.shape} and {truth.shape}",
            code="scores_bad",
        )
    return values, truth


def _no_criterion(got: str) -> InputError:
    return InputError(
        f"expected the criterion youden, f1 or sensitivity:X with X above 0 and at most 1, got {got!r}",
        code="criterion_invalid",
    )
