"""One model's embeddings of one split, beside what the table says of each picture and caption, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.evaluate.zeroshot import caption_prompts, membership
from medimageinsight.metrics.bootstrap import draw_multiplicities, figure, resampled_means

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.evaluate.figures import EvaluationSettings
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights

Name = TypeVar("Name", bound="Hashable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """N scored pictures and P prompts.

    Attributes:
        table: All splits, which give the prompts their meaning.
        samples: The N scored pictures.
        images: (N, D) float32.
        prompts: (P, D) float32.
        prompt_of_row: (rows of the table,) int, the prompt that is a row's caption.
        labels: (N,) int, a label within its source; -1 for an unlabelled picture.
        label_names: Source and label of each of the L labels of the whole table.
        finding_labels: Those labels, as numbers in order, that have a finding somewhere in the table.
        prompt_labels: (P, L + 1) bool, see :func:`~medimageinsight.evaluate.zeroshot.membership`.
        groups: (N,) int, the patient; a picture without a patient id is its own.
        weights: (R, N) float32, multiplicities of the bootstrap.
        logit_scale: A logarithm.
        settings: What to score and how.
    """

    table: Table
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
        """Indices of the scored pictures of one source."""
        return np.flatnonzero([sample.source == source for sample in self.samples])

    def mean_figure(self, values: Floats | Flags, pictures: Integers) -> Figure | None:
        """Mean of one value a picture over some of the pictures; None where there are none."""
        if not len(pictures):
            return None
        resampled = resampled_means(values, self.weights[:, pictures])
        return figure(values.mean(), resampled, count=len(pictures), confidence=self.settings.confidence)


def prepare(
    table: Table,
    image_embeddings: NDArray[np.float32],
    prompts: Sequence[str],
    prompt_embeddings: NDArray[np.float32],
    logit_scale: float,
    *,
    settings: EvaluationSettings,
) -> Trial:
    """Checks what :func:`~medimageinsight.evaluate.benchmark.score_table` was given and numbers it."""
    samples = scored_samples(table, settings)
    images = _check_embeddings("image", image_embeddings, len(samples))
    texts = _check_embeddings("prompt", prompt_embeddings, len(prompts))
    if images.shape[1] != texts.shape[1]:
        raise InputError(
            f"expected pictures and prompts of one space, got {images.shape[1]} and {texts.shape[1]} dimensions",
            code="embeddings_misshapen",
        )
    if len(set(prompts)) != len(prompts) or set(prompts) != set(caption_prompts(table)):
        raise InputError(
            "expected the table's distinct captions as prompts, got others: take them from caption_prompts(table)",
            code="prompts_mismatched",
        )
    prompt_of_row, _ = number([sample.caption for sample in table], known=prompts)
    label_of_row, label_names = number([_label_name(sample) for sample in table])
    labels, _ = number([_label_name(sample) for sample in samples], known=label_names)
    read = np.array([bool(sample.label and sample.finding) for sample in table])
    groups = patient_numbers(samples)
    strata, _ = number([sample.source for sample in samples])
    return Trial(
        table=table,
        samples=samples,
        images=images,
        prompts=texts,
        prompt_of_row=prompt_of_row,
        labels=labels,
        label_names=label_names,
        finding_labels=np.unique(label_of_row[read]),
        prompt_labels=membership(prompt_of_row, label_of_row, shape=(len(prompts), len(label_names))),
        groups=groups,
        weights=draw_multiplicities(groups, strata, resamples=settings.resamples, seed=settings.seed),
        logit_scale=logit_scale,
        settings=settings,
    )


def scored_samples(table: Table, settings: EvaluationSettings) -> tuple[Sample, ...]:
    """The pictures of the split to score."""
    return table.samples if settings.split is None else table.of_split(settings.split).samples


def number(values: Sequence[Name | None], known: Iterable[Name] = ()) -> tuple[Integers, tuple[Name, ...]]:
    """Values as 0, 1, ... in the order of first appearance after the ``known`` ones, None as -1; and their names."""
    names = tuple(dict.fromkeys((*known, *(value for value in values if value is not None))))
    numbers = {name: index for index, name in enumerate(names)}
    return np.array([-1 if value is None else numbers[value] for value in values], dtype=np.int64), names


def _label_name(sample: Sample) -> tuple[str, str] | None:
    return (sample.source, sample.label) if sample.label else None


def patient_numbers(samples: Sequence[Sample]) -> Integers:
    """A patient id is known within its source; a picture without one is numbered alone."""
    patients = [
        (sample.source, sample.patient_id) if sample.patient_id else (sample.source, index)
        for index, sample in enumerate(samples)
    ]
    return number(patients)[0]


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
