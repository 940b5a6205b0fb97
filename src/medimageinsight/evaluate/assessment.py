"""The result of a full assessment: a `Report`, and figures that need images to train on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.results import EvaluationSettings
from medimageinsight.metrics.thresholds import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.evaluate.classification import ClassFigures
    from medimageinsight.evaluate.groups import Grouping
    from medimageinsight.evaluate.methods import Choice, MethodScores
    from medimageinsight.evaluate.operating_points import OperatingPoints
    from medimageinsight.evaluate.rate_gaps import RateGap
    from medimageinsight.evaluate.reliability import Bin, Reliability
    from medimageinsight.evaluate.results import Report
    from medimageinsight.metrics.bootstrap import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessmentSettings:
    """How to assess: ``AssessmentSettings(criteria=("youden", "sensitivity:0.95"))``.

    Attributes:
        evaluation: The scored split and the bootstrap.
        train_split: The split that kNN and linear probes are trained on.
        val_split: The split on which k, penalties, thresholds and temperatures are chosen.
        criteria: Criteria of operating points, as text for `Criterion.parse`.

    Raises:
        ConfigError: The training and the validation split are the same, or there are no permutations.
        InputError: A criterion is invalid (``criterion_invalid``).
    """

    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    train_split: str = "train"
    val_split: str = "val"
    criteria: tuple[str, ...] = ("youden", "sensitivity:0.9")
    permutations: int = 1000

    @property
    def is_held_out(self) -> bool:
        """Whether the scored split is neither trained nor chosen on."""
        return self.evaluation.split not in (None, self.train_split, self.val_split)

    def __post_init__(self) -> None:
        for criterion in self.criteria:
            Criterion.parse(criterion)
        if self.permutations < 1:
            raise ConfigError(f"expected 1 permutation or more, got {self.permutations}: 1000 is usual")
        if self.train_split == self.val_split:
            raise ConfigError(
                f"expected two splits to train and to choose on, got {self.train_split!r} twice: name another"
            )


@dataclass(frozen=True, kw_only=True)
class SourceAssessment:
    """One method on one source.

    Attributes:
        operating: Thresholds; None without images to choose them on.
        roc: By class, the corners (false positive rate, sensitivity) of its ROC curve.
    """

    figures: ClassFigures
    calibration: Reliability
    operating: OperatingPoints | None
    roc: Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, kw_only=True)
class MethodAssessment:
    """One method on all sources; the means are over ``averaged``, the same sources for each method.

    ``calibration_error`` and ``reliability`` are of the images of these sources together.
    """

    averaged: tuple[str, ...]
    mean_auc: Figure | None
    accuracy: Figure | None
    calibration_error: Figure | None
    reliability: tuple[Bin, ...]
    sources: Mapping[str, SourceAssessment]


@dataclass(frozen=True, kw_only=True, eq=False)
class Assessment:
    """One model on one split of one table.

    Attributes:
        report: Zero-shot and retrieval figures.
        methods: By name: zero-shot, kNN, linear probe; only those that the table allows.
        groups: By column, method and measure.
        rate_gaps: By column, method, source, class, operating point and rate; empty without a split to choose on.
        choices: Every choice, how it was made and on which split.
        notes: What was left out, and why.
        scores: The probabilities by method and source; not part of the JSON.
    """

    report: Report
    settings: AssessmentSettings
    methods: Mapping[str, MethodAssessment]
    groups: tuple[Grouping, ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    scores: Mapping[str, Mapping[str, MethodScores]]
    rate_gaps: tuple[RateGap, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the assessment as JSON types: the report's keys and those of this class."""
        return {
            **self.report.to_dict(),
            "train_split": self.settings.train_split,
            "val_split": self.settings.val_split,
            "criteria": list(self.settings.criteria),
            "methods": {name: asdict(method) for name, method in self.methods.items()},
            "groups": [asdict(grouping) for grouping in self.groups],
            "rate_gaps": [asdict(gap) for gap in self.rate_gaps],
            "choices": [asdict(choice) for choice in self.choices],
            "notes": list(self.notes),
        }
