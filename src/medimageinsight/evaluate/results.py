"""The result of an evaluation: figures with their confidence intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ConfigError
from medimageinsight.metrics.intervals import MIN_POSITIVES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.evaluate.confusion import ConfusionMatrix
    from medimageinsight.metrics.bootstrap import Figure


DASH = "–"  # where the table does not allow a figure
TOO_FEW = "too few"  # positives or negatives for an interval that can be trusted


def source_name(source: str) -> str:
    """Return the name of a source for a reader; it may be ''."""
    return source or "(no name)"


def figure_cell(figure: Figure | None, *, absent: str = DASH) -> str:
    """Return a figure with its interval as text."""
    return absent if figure is None else str(figure)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingFigures:
    """Zero-shot classification of one source's findings.

    Attributes:
        mean_auc: Mean one-vs-rest ROC AUC over the labels in ``label_auc``; None if there are none.
        label_auc: ROC AUC of each label with a finding against the source's other labels.
        left_out: Labels with a finding that none or all of the scored images have.
        too_few: Labels with fewer positives or negatives than an AUC needs.
        accuracy: Share of images whose most probable label is theirs.
        mean_average_precision: Mean of the labels' average precision; it is that of the scored split's prevalence.
        label_average_precision: By label, for labels that have an AUC.
        confusion: Images by label and answer, the most probable label.
    """

    mean_auc: Figure | None
    label_auc: Mapping[str, Figure]
    left_out: tuple[str, ...]
    accuracy: Figure
    too_few: tuple[str, ...] = ()
    mean_average_precision: Figure | None = None
    label_average_precision: Mapping[str, Figure] = field(default_factory=dict)
    confusion: ConfusionMatrix | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFigures:
    """One source of a table.

    Attributes:
        findings: None for a source without two labels with a finding.
        precision_at_k: Image to image, by label; None if no image has another one of its label to find.
    """

    images: int
    labels: int
    findings: FindingFigures | None
    precision_at_k: Figure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How to evaluate: ``EvaluationSettings(split="val", seed=1)``.

    Attributes:
        split: The split to score; None for all images.
        finding_sources: The sources averaged into the mean AUC. None: the seven of medmix if the table has all of
            them, else every source with two or more findings.
        neighbours: k of image-to-image precision and of text-to-image precision.
        recall_at: The values of k of cross-modal recall.
        confidence: Confidence level of the intervals, between 0 and 1.
        min_positives: Patients with and without a label below which it has no AUC: too few for an honest interval.

    Raises:
        ConfigError: A value is out of range.
    """

    split: str | None = "test"
    finding_sources: tuple[str, ...] | None = None
    neighbours: int = 5
    recall_at: tuple[int, ...] = (1, 5, 10)
    resamples: int = 1000
    seed: int = 0
    confidence: float = 0.95
    min_positives: int = MIN_POSITIVES

    @property
    def split_phrase(self) -> str:
        """The scored split in words."""
        return "all images" if self.split is None else f"the {self.split} split"

    def __post_init__(self) -> None:
        if not self.recall_at or min(self.neighbours, self.resamples, self.min_positives, *self.recall_at) < 1:
            raise ConfigError(
                f"expected neighbours, resamples, min_positives and every recall_at of 1 or more, got "
                f"{self.neighbours}, {self.resamples}, {self.min_positives} and {self.recall_at}: raise the value "
                "below 1"
            )
        if not 0 < self.confidence < 1:
            raise ConfigError(f"expected a confidence between 0 and 1, got {self.confidence}: 0.95 is usual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures of one model on one split of one table; None where the table does not allow a figure.

    Attributes:
        command: The command that repeats the evaluation, or ''.
        patients: Distinct patient ids among them; an image without an id counts as one patient.
        prompts: Number of distinct prompts.
        prompt_source: Where the prompts are from, in words.
        warnings: What may make the figures too good.
        unknown_patients: Scored images whose patient is not known; intervals take each for a patient of its own.
        modality_accuracy: Share of images whose best prompt has their modality.
        anatomy_accuracy: Share of images whose best prompt has their modality and their anatomy.
        mean_auc: Mean of the sources' mean AUC over ``finding_sources``.
        finding_sources: The sources that were averaged.
        precision_at_k: Image to image over all sources, by source and label.
        image_to_text: Recall at each k: a caption of the image's label is among the k best.
        text_to_image: The same for captions; the mean over labels of the mean over a label's captions.
        text_to_image_precision: Precision at ``settings.neighbours``, averaged in the same way.
    """

    model: str
    command: str
    settings: EvaluationSettings
    images: int
    patients: int
    prompts: int
    modality_accuracy: Figure | None
    anatomy_accuracy: Figure | None
    mean_auc: Figure | None
    finding_sources: tuple[str, ...]
    sources: Mapping[str, SourceFigures]
    precision_at_k: Figure | None
    image_to_text: Mapping[int, Figure]
    text_to_image: Mapping[int, Figure]
    text_to_image_precision: Figure | None
    prompt_source: str = ""
    warnings: tuple[str, ...] = ()
    unknown_patients: int = 0

    @property
    def patients_phrase(self) -> str:
        """The number of patients in words, and of images whose patient is unknown."""
        return patients_phrase(self.images, self.patients, self.unknown_patients)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return asdict(self)


def patients_phrase(images: int, patients: int, unknown: int) -> str:
    """Return the number of patients in words, and of images whose patient is unknown.

    ``patients`` counts each image of an unknown patient as one.
    """
    if unknown == images:
        return "patients unknown"
    rest = f", patients unknown for {unknown:,} images" if unknown else ""
    return f"{patients - unknown:,} patient ids{rest}"
