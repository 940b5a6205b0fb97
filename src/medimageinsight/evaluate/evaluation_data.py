"""The embeddings of one split, with the labels, captions and patients of the table as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.evaluate.prompt_set import PromptSet, select_prompts
from medimageinsight.evaluate.zero_shot import prompt_membership
from medimageinsight.metrics.bootstrap import draw_bootstrap_weights
from medimageinsight.metrics.intervals import share_figure

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.evaluate.results import EvaluationSettings
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights

Value = TypeVar("Value", bound="Hashable")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationData:
    """N scored images and P prompts.

    Attributes:
        prompt_set: The prompts and the classes that they name.
        images: (N, D) float32.
        prompts: (P, D) float32.
        prompt_of_row: (rows of the prompt set,) int, the prompt that is a row's caption.
        labels: (N,) int, a label within its source; -1 for an unlabelled image.
        label_names: Source and label of each of the L labels of the whole table.
        finding_labels: Sorted numbers of the labels that have a finding in some row of the table, and a prompt.
        prompt_labels: (P, L + 1) bool, see :func:`~medimageinsight.evaluate.zero_shot.prompt_membership`.
        groups: (N,) int, the patient; an image without a patient id is its own patient.
        weights: (R, N) float32, bootstrap weights.
        logit_scale: A logarithm.
    """

    prompt_set: PromptSet
    samples: tuple[Sample, ...]
    images: NDArray[np.float32]
    prompts: NDArray[np.float32]
    prompt_of_row: Integers
    labels: Integers
    label_names: tuple[tuple[str, str], ...]
    finding_labels: Integers
    prompt_labels: Flags
    groups: Integers
    weights: Weights
    logit_scale: float
    settings: EvaluationSettings

    def rows_of(self, source: str) -> Integers:
        """Return the indices of the scored images of one source."""
        return np.flatnonzero([sample.source == source for sample in self.samples])

    def mean_figure(self, values: Floats | Flags, images: Integers) -> Figure | None:
        """Return the mean of one value from 0 to 1 per image over some images, by index; None for no images."""
        return share_figure(values, self.groups[images], confidence=self.settings.confidence)


def prepare_data(
    table: Table,
    image_embeddings: NDArray[np.float32],
    prompts: Sequence[str] | PromptSet,
    prompt_embeddings: NDArray[np.float32],
    logit_scale: float,
    *,
    settings: EvaluationSettings,
) -> EvaluationData:
    """Validate the arguments of `score_table` and number labels, captions and patients."""
    samples = scored_samples(table, settings)
    images = _check_embeddings("image", image_embeddings, len(samples))
    given = prompts.texts if isinstance(prompts, PromptSet) else prompts
    texts = _check_embeddings("prompt", prompt_embeddings, len(given))
    if images.shape[1] != texts.shape[1]:
        raise InputError(
            f"expected images and prompts of one space, got {images.shape[1]} and {texts.shape[1]} dimensions",
            code="embeddings_misshapen",
        )
    prompt_set, texts = select_prompts(prompts, texts, table, settings.split)
    prompt_of_row, _ = number_values([row.caption for row in prompt_set.rows], known=prompt_set.texts)
    label_of_row, label_names = number_values([_label_name(sample) for sample in table])
    labels, _ = number_values([_label_name(sample) for sample in samples], known=label_names)
    label_of_prompt_row, _ = number_values([_label_name(row) for row in prompt_set.rows], known=label_names)
    shape = (len(prompt_set.texts), len(label_names))
    prompt_labels = prompt_membership(prompt_of_row, label_of_prompt_row, shape=shape)
    has_finding = np.array([bool(sample.label and sample.finding) for sample in table])
    groups = number_sample_patients(samples)
    strata, _ = number_values([sample.source for sample in samples])
    return EvaluationData(
        prompt_set=prompt_set,
        samples=samples,
        images=images,
        prompts=texts,
        prompt_of_row=prompt_of_row,
        labels=labels,
        label_names=label_names,
        finding_labels=np.intersect1d(label_of_row[has_finding], np.flatnonzero(prompt_labels.any(axis=0))),
        prompt_labels=prompt_labels,
        groups=groups,
        weights=draw_bootstrap_weights(groups, strata, resamples=settings.resamples, seed=settings.seed),
        logit_scale=logit_scale,
        settings=settings,
    )


def scored_samples(table: Table, settings: EvaluationSettings) -> tuple[Sample, ...]:
    """Return the images of the split to score."""
    return table.samples if settings.split is None else table.of_split(settings.split).samples


def number_values(values: Sequence[Value | None], known: Iterable[Value] = ()) -> tuple[Integers, tuple[Value, ...]]:
    """Return values as numbers from 0 in the order of first appearance, after ``known``; None is -1.

    Returns:
        The numbers, and the distinct values in the order of their numbers.
    """
    names = tuple(dict.fromkeys((*known, *(value for value in values if value is not None))))
    numbers = {name: index for index, name in enumerate(names)}
    return np.array([-1 if value is None else numbers[value] for value in values], dtype=np.int64), names


def number_sample_patients(samples: Sequence[Sample]) -> Integers:
    """Return the patient of each sample as a number; ids are unique within a source, '' is a patient of its own."""
    patients = [
        (sample.source, sample.patient_id) if sample.patient_id else (sample.source, index)
        for index, sample in enumerate(samples)
    ]
    return number_values(patients)[0]


def _label_name(sample: Sample) -> tuple[str, str] | None:
    return (sample.source, sample.label) if sample.label else None


def _check_embeddings(kind: str, embeddings: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    array = np.asarray(embeddings, dtype=np.float32)
    if array.ndim != 2 or len(array) != count:
        raise InputError(
            f"expected {kind} embeddings of shape ({count}, dimensions), one for each {kind}, got {array.shape}",
            code="embeddings_misshapen",
        )
    if not np.isfinite(array).all():
        raise InputError(
            f"expected finite {kind} embeddings, got NaN or infinity: the model is broken",
            code="embeddings_not_finite",
        )
    return array
