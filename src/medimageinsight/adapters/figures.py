"""Performance figures of an adapter on labelled images, with intervals by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.metrics.bootstrap import Figure, bootstrap_figure, draw_bootstrap_weights, resampled_means
from medimageinsight.metrics.calibration import calibration_error
from medimageinsight.metrics.intervals import class_auc_figures, mean_figure, share_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.metrics.heads import Outputs
    from medimageinsight.metrics.scores import Flags, Floats, Integers


@dataclass(frozen=True, kw_only=True)
class AdapterFigures:
    """Figures of one set of images; None where the set does not allow one.

    Attributes:
        scored_on: Name of the set, as ``test``. On ``validation`` the figures are slightly optimistic: the set chose
            the L2 penalty or the epoch to stop at, and the temperature.
        images: Number of images.
        accuracy: Share of images whose most probable label is correct; None for labels that do not exclude each other.
        balanced_accuracy: The mean over labels of that share; None likewise.
        mean_auc: The mean over labels of the ROC AUC of each label against the others.
        label_auc: By label, where it is defined and there are enough patients with and without the label.
        too_few: Labels with too few of them; they are not in the mean.
        unknown_patients: Images whose patient is not known; intervals take each for a patient of its own.
        patients_checked: True if the patients of these images and of those that fitted the adapter are all known, and
            none is in both.
        brier: The mean over images of the squared distance of probabilities and truth, summed over labels: 0 is best.
        calibration_error: Expected calibration error over ten bins of confidence, 0 is best; the mean over labels where
            they do not exclude each other. Without an interval: resampling raises it, as small sets do.
    """

    scored_on: str
    images: int
    accuracy: Figure | None
    balanced_accuracy: Figure | None
    mean_auc: Figure | None
    label_auc: dict[str, Figure]
    brier: Figure | None
    calibration_error: float
    too_few: tuple[str, ...] = ()
    unknown_patients: int = 0
    patients_checked: bool = False


def score_probabilities(
    probabilities: Floats,
    truth: Flags,
    names: Sequence[str],
    outputs: Outputs,
    *,
    groups: Integers,
    scored_on: str,
    known: Flags | None = None,
    unknown_patients: int = 0,
    patients_checked: bool = False,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> AdapterFigures:
    """Compute figures of probabilities (N, L) float64 of the labels ``names``, with truth (N, L) bool.

    ``groups`` (N,) are the patients of the images, by which intervals are made; see `AdapterFigures`. A label is not
    scored for images where it is not ``known`` (N, L).
    """
    known = np.ones_like(truth) if known is None else known
    count = len(truth)
    resampled = draw_bootstrap_weights(groups, np.zeros(count, dtype=np.int64), resamples=resamples, seed=seed)
    weights = np.concatenate([np.ones((1, count), dtype=np.float32), resampled])  # the first row is the set itself

    rated = [(values[used], flags[used]) for values, flags, used in zip(probabilities.T, truth.T, known.T, strict=True)]
    columns = [(values, flags) for values, flags in rated if len(flags)]
    aucs = class_auc_figures(probabilities, truth, groups, confidence=confidence, known=known)
    named = list(zip(names, aucs.classes, aucs.defined, strict=True))
    squares = resampled_means((((probabilities - truth) * known) ** 2).sum(axis=1), weights)
    correct = probabilities.argmax(axis=1) == truth.argmax(axis=1)
    exclusive = outputs == "softmax"
    decisions = [(probabilities.max(axis=1), correct)] if exclusive else columns
    return AdapterFigures(
        scored_on=scored_on,
        images=count,
        accuracy=share_figure(correct, groups, confidence=confidence) if exclusive else None,
        balanced_accuracy=_balanced_accuracy(correct, truth, groups, confidence) if exclusive else None,
        mean_auc=aucs.mean,
        label_auc={name: figure for name, figure, _ in named if figure is not None},
        brier=bootstrap_figure(squares[0], squares[1:], count=count, confidence=confidence),
        calibration_error=float(np.mean([calibration_error(*decision) for decision in decisions])),
        too_few=tuple(name for name, figure, defined in named if figure is None and defined),
        unknown_patients=unknown_patients,
        patients_checked=patients_checked,
    )


def _balanced_accuracy(correct: Flags, truth: Flags, groups: Integers, confidence: float) -> Figure | None:
    """Return the mean over labels of the share of correct images."""
    shares = [share_figure(correct[rows], groups[rows], confidence=confidence) for rows in truth.T]
    return mean_figure(shares, count=len(correct))
