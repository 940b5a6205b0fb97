"""Compare classifiers on frozen embeddings as arXiv 2505.10823 does: settings by validation images, one test score.

comparison = compare_adapters(train, validation, test)
comparison.methods["svm"].mean_auc             # Figure(value=0.93, low=0.91, high=0.95, ...)

Every method sees the same images. Settings are those with the highest mean AUC on the validation images; the classifier
that was fitted to the training images with them is scored once on the test images, with intervals by patient.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.adapters import LabelledEmbeddings, check_trainable, split_by_patient, split_embeddings
from medimageinsight.errors import InputError
from medimageinsight.evaluate.adapter_methods import METHODS, decision_threshold, fit_scores, usable_settings
from medimageinsight.metrics.average_precision import class_precision_figures
from medimageinsight.metrics.intervals import class_auc_figures, combine_figures, mean_figure, share_figure
from medimageinsight.metrics.patients import count_unknown, reject_shared_patients
from medimageinsight.metrics.scores import roc_auc
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.evaluate.adapter_methods import Method, Settings
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """What to compare: ``ProtocolSettings(methods=("knn", "svm"), seed=1)``.

    Attributes:
        methods: Out of `METHODS`.
        seed: Of the random forest and the network; the same seed gives the same figures.
        confidence: Of the intervals.

    Raises:
        InputError: ``adapter_settings_invalid``.
    """

    methods: tuple[Method, ...] = METHODS
    seed: int = 0
    confidence: float = 0.95

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(
                f"expected methods out of {', '.join(METHODS)}, each once, got {', '.join(self.methods) or 'none'}",
                code="adapter_settings_invalid",
            )
        if not 0 < self.confidence < 1 or not 0 <= self.seed < 2**32:
            raise InputError(
                f"expected a confidence between 0 and 1 and a seed from 0 to {2**32 - 1}, got {self.confidence} and "
                f"{self.seed}",
                code="adapter_settings_invalid",
            )


@dataclass(frozen=True, kw_only=True)
class ChosenSettings:
    """Settings of the grid with their mean AUC on the validation images."""

    settings: Settings
    validation_auc: float


@dataclass(frozen=True, kw_only=True)
class MethodFigures:
    """One method: what the validation images chose, and its figures on the test images.

    Attributes:
        chosen: The settings that were scored.
        candidates: All settings of the grid.
        mean_auc: The mean over labels of the ROC AUC of each against the others; None without any.
        mean_average_precision: The mean over labels of the average precision of each.
        balanced_accuracy: The mean over labels of the share of correct images; where labels do not exclude each other,
            of the mean of sensitivity and specificity at the method's own threshold.
        accuracy: The share of correct images; None where labels do not exclude each other.
        label_auc: By label.
        too_few: Labels with too few patients with or without them; they are not in the mean AUC.
    """

    chosen: ChosenSettings
    candidates: tuple[ChosenSettings, ...]
    mean_auc: Figure | None
    mean_average_precision: Figure | None
    balanced_accuracy: Figure | None
    accuracy: Figure | None
    label_auc: dict[str, Figure]
    too_few: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AdapterComparison:
    """Several methods on the same images.

    Attributes:
        labels: The L labels.
        exclusive: True if every image has exactly one.
        images: Number of images of ``train``, ``validation`` and ``test``.
        test_patients: Number of patients of the test images, an unknown one for each image without an id.
        unknown_patients: Number of images of each part whose patient is not known: its images may be in two parts, and
            the intervals take each for a patient of its own.
        methods: Figures by method, in the order of the settings.
        seed: See `ProtocolSettings`.
        confidence: Of the intervals.
    """

    labels: tuple[str, ...]
    exclusive: bool
    images: dict[str, int]
    test_patients: int
    unknown_patients: dict[str, int]
    methods: dict[Method, MethodFigures]
    seed: int
    confidence: float

    @property
    def patients_phrase(self) -> str:
        """The number of test patients, or ``patients unknown`` if that of some image of any part is."""
        return "patients unknown" if any(self.unknown_patients.values()) else f"{self.test_patients:,} patients"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each figure, for a table: method, figure, label, value, low, high, images and so on."""
        rows = []
        for method, figures in self.methods.items():
            named: list[tuple[str, str, Figure | None]] = [
                ("mean_auc", "", figures.mean_auc),
                ("mean_average_precision", "", figures.mean_average_precision),
                ("balanced_accuracy", "", figures.balanced_accuracy),
                ("accuracy", "", figures.accuracy),
                *(("auc", label, figure) for label, figure in figures.label_auc.items()),
                *(("auc", label, None) for label in figures.too_few),
            ]
            rows += [
                {
                    "method": method,
                    "figure": name,
                    "label": label,
                    "value": "too few" if figure is None else figure.value,
                    "low": "" if figure is None else figure.low,
                    "high": "" if figure is None else figure.high,
                    "test_images": self.images["test"],
                    "patients_unknown": self.unknown_patients["test"],
                    "settings": " ".join(f"{key}={value}" for key, value in figures.chosen.settings.items()),
                    "validation_auc": figures.chosen.validation_auc,
                }
                for name, label, figure in named
                if figure is not None or name == "auc"
            ]
        return rows


def compare_adapters(
    train: LabelledEmbeddings,
    validation: LabelledEmbeddings,
    test: LabelledEmbeddings,
    *,
    settings: ProtocolSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> AdapterComparison:
    """Fit every method to ``train``, choose its settings on ``validation`` and score it once on ``test``.

    ``progress`` is called with the number of classifiers fitted so far, out of `count_fits`.

    Raises:
        InputError: As `check_trainable`, a patient of the test images in another part (``patients_shared``), a test
            label that was not trained (``label_unknown``), labels of the other kind (``label_invalid``), no test images
            (``images_missing``), or a label that no training or validation image is known to have or to lack
            (``labels_too_few``).
        MissingExtraError: Without scikit-learn.
    """
    settings = settings or ProtocolSettings()
    names = _check_parts(train, validation, test)
    figures: dict[Method, MethodFigures] = {}
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done)

    for method in settings.methods:
        figures[method] = _score_method(method, (train, validation, test), names, settings, report=report)
    parts = {"train": train, "validation": validation, "test": test}
    return AdapterComparison(
        labels=names,
        exclusive=train.exclusive,
        images={name: len(part) for name, part in parts.items()},
        test_patients=len(np.unique(test.groups)),
        unknown_patients={name: count_unknown(part.patients, len(part)) for name, part in parts.items()},
        methods=figures,
        seed=settings.seed,
        confidence=settings.confidence,
    )


def count_fits(settings: ProtocolSettings, images: int) -> int:
    """Return how many classifiers are fitted to this number of training images."""
    return sum(len(usable_settings(method, images)) for method in settings.methods)


def split_for_protocol(
    data: LabelledEmbeddings, samples: Sequence[Sample], *, fraction: float = 0.2, seed: int = 0
) -> tuple[LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings]:
    """Return the training, validation and test part: the table's splits ``train``, ``val`` and ``test``.

    Without splits, ``fraction`` of the patients are for the test and as much of the others for validation; without
    ``val`` the training part is split.

    Raises:
        DatasetError: As `split_embeddings`.
        InputError: A patient of the test part is in another part (``patients_shared``), or a table with splits has no
            ``test`` (``images_missing``).
    """
    if {sample.split for sample in samples} == {""}:
        rest, held_out = split_by_patient(data, fraction=fraction, seed=seed)
        return *split_by_patient(rest, fraction=fraction, seed=seed), held_out
    train, validation, test = split_embeddings(data, samples, fraction=fraction, seed=seed)
    if test is None:
        raise InputError(
            "expected test images, got a table with the split train and without test: name a split test, or none",
            code="images_missing",
        )
    return train, validation, test


def _check_parts(
    train: LabelledEmbeddings, validation: LabelledEmbeddings, test: LabelledEmbeddings
) -> tuple[str, ...]:
    """Return the labels that all parts may have."""
    names = check_trainable(train, validation)
    if not len(test):
        raise InputError("expected test images, got none: hold some out", code="images_missing")
    if test.exclusive != train.exclusive:
        raise InputError("expected labels of one kind in all parts, got sets in some of them", code="label_invalid")
    unit_rows(test.rows, name="test vectors", dim=train.rows.shape[1])
    if unknown := sorted(set(test.names) - set(names)):
        raise InputError(
            f"expected test images of the training labels, got {len(unknown)} others, the first {unknown[0]!r}: leave "
            "them out, or train them",
            code="label_unknown",
        )
    reject_shared_patients([*train.patients, *validation.patients], test.patients, "training or validation, and test")
    for part, title in ((train, "training"), (validation, "validation")):
        truth, known = part.truth(names), part.known(names)
        for index, name in enumerate(names):
            flags = truth[known[:, index], index]
            if not flags.any() or flags.all():
                raise InputError(
                    f"expected {title} images with and without each label, got only one kind for {name!r}: add some",
                    code="labels_too_few",
                )
    return names


def _score_method(
    method: Method,
    parts: tuple[LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings],
    names: tuple[str, ...],
    settings: ProtocolSettings,
    *,
    report: Callable[[], None],
) -> MethodFigures:
    """Fit every setting, and score the best of them on the test images."""
    train, validation, test = parts
    truth, known = validation.truth(names), validation.known(names)
    candidates: list[ChosenSettings] = []
    best, test_scores = -np.inf, np.empty((0, 0))
    for grid_settings in usable_settings(method, len(train)):
        on_validation, on_test = fit_scores(
            method,
            grid_settings,
            train.rows,
            train.truth(names),
            train.known(names),
            (validation.rows, test.rows),
            exclusive=train.exclusive,
            seed=settings.seed,
        )
        mean = float(np.mean([roc_auc(*pair) for pair in _columns(on_validation, truth, known)]))
        candidates.append(ChosenSettings(settings=grid_settings, validation_auc=mean))
        if mean > best:  # the first of equals
            best, test_scores = mean, on_test
        report()
    chosen = next(candidate for candidate in candidates if candidate.validation_auc == best)
    scored = test_scores, test.truth(names), test.groups
    known_test, confidence = test.known(names), settings.confidence
    aucs = class_auc_figures(*scored, confidence=confidence, known=known_test)
    return MethodFigures(
        chosen=chosen,
        candidates=tuple(candidates),
        mean_auc=aucs.mean,
        mean_average_precision=class_precision_figures(*scored, confidence=confidence, known=known_test).mean,
        balanced_accuracy=_balanced_accuracy(method, test_scores, test, names, confidence),
        accuracy=_accuracy(test_scores, test, names, confidence),
        label_auc={name: figure for name, figure in zip(names, aucs.classes, strict=True) if figure is not None},
        too_few=tuple(name for name, figure in zip(names, aucs.classes, strict=True) if figure is None),
    )


def _columns(scores: Floats, truth: Flags, known: Flags) -> list[tuple[Floats, Flags]]:
    """Return the scores and the truth of each label, of the images where it is known."""
    return [(values[used], flags[used]) for values, flags, used in zip(scores.T, truth.T, known.T, strict=True)]


def _accuracy(scores: Floats, test: LabelledEmbeddings, names: Sequence[str], confidence: float) -> Figure | None:
    if not test.exclusive:
        return None
    correct = scores.argmax(axis=1) == test.truth(names).argmax(axis=1)
    return share_figure(correct, test.groups, confidence=confidence)


def _balanced_accuracy(
    method: Method, scores: Floats, test: LabelledEmbeddings, names: Sequence[str], confidence: float
) -> Figure | None:
    """Return the mean over labels of the recall; for sets of labels, of the recall with and without each label."""
    truth, known, groups = test.truth(names), test.known(names), test.groups
    if test.exclusive:
        correct = scores.argmax(axis=1) == truth.argmax(axis=1)
        shares = [share_figure(correct[rows], groups[rows], confidence=confidence) for rows in truth.T]
        return mean_figure(shares, count=len(test))
    correct_labels = (scores > decision_threshold(method)) == truth
    parts = [
        share_figure(correct[rows], groups[rows], confidence=confidence)
        for correct, flags, used in zip(correct_labels.T, truth.T, known.T, strict=True)
        if (flags & used).any() and (~flags & used).any()
        for rows in (flags & used, ~flags & used)
    ]
    found = [part for part in parts if part is not None]
    if not found:
        return None
    # All labels are of the same images: as wide as if their figures were equal.
    related = np.ones((len(found), len(found)))
    return combine_figures(found, [1 / len(found)] * len(found), count=len(test), correlations=related)
