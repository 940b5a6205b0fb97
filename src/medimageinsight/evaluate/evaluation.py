"""Evaluate a model on a table of labelled images: zero-shot classification, findings, retrieval.

The prompts are never captions of scored images (see :mod:`medimageinsight.evaluate.prompt_set`); one split is scored. A
label is a class within its source, so "normal" of two sources are two labels. Intervals hold for new patients, for
caption queries for new labels; galleries are fixed (see :mod:`medimageinsight.metrics.intervals`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.datasets import similar_labels, with_dicom_patients
from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.embedding import embed_prompts, embed_samples
from medimageinsight.evaluate.evaluation_data import prepare_data, scored_samples
from medimageinsight.evaluate.prompt_set import choose_prompts
from medimageinsight.evaluate.results import EvaluationSettings, Report, SourceFigures
from medimageinsight.evaluate.scoring import (
    best_prompt_accuracy,
    find_neighbours,
    image_to_image_precision,
    image_to_text_recall,
    mean_over_sources,
    score_findings,
    text_to_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.embedding import Model
    from medimageinsight.evaluate.evaluation_data import EvaluationData
    from medimageinsight.evaluate.prompt_set import PromptSet

# The sources of medmix whose labels are findings that a reader would report; the published mean AUC is over these.
MEDMIX_FINDING_SOURCES = ("kermany_cxr", "knee_kl", "brain_tumor_mri", "busi", "idrid", "isic_uda1", "pbc_blood")


def evaluate(
    model: Model,
    table: Table,
    *,
    settings: EvaluationSettings | None = None,
    prompts: PromptSet | None = None,
    name: str = "model",
    command: str = "",
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Embed the images of a split and prompts, those of `choose_prompts` by default, and `score_table` them.

    The table has all splits; patients that it lacks are read from DICOM files. ``progress`` is called with the number
    of images embedded so far.

    Raises:
        DatasetError: The table has no such split, or images cannot be read (``dataset_broken_images``).
        ConfigError: A finding source is not in the table or has no AUC (``finding_sources_unknown``).
    """
    settings = settings or EvaluationSettings()
    table = replace(table, samples=with_dicom_patients(table))
    samples = scored_samples(table, settings)
    prompts = prompts or choose_prompts(table, settings.split)
    images = embed_samples(model, table, samples, progress=progress)
    return score_table(
        table,
        images,
        prompts,
        embed_prompts(model, prompts, images.shape[1]),
        model.logit_scale,
        settings=settings,
        name=name,
        command=command,
    )


def score_table(
    table: Table,
    image_embeddings: NDArray[np.float32],
    prompts: Sequence[str] | PromptSet,
    prompt_embeddings: NDArray[np.float32],
    logit_scale: float,
    *,
    settings: EvaluationSettings | None = None,
    name: str = "model",
    command: str = "",
) -> Report:
    """Score existing embeddings: the core of `evaluate`, arrays in and figures out.

    Args:
        table: All splits of a table.
        image_embeddings: (N, D) float32, L2-normalised, the scored split's images in the table's order.
        prompts: A set of `choose_prompts`; or P texts, the table's distinct captions in any order
            (``caption_prompts``), where those that only scored images have are not used.
        prompt_embeddings: (P, D) float32, L2-normalised.
        logit_scale: A logarithm.
        settings: What to score and how; ``settings.split`` names the scored split.
        name: The model's name, for the report.
        command: The command that repeats the evaluation, for the report.

    Raises:
        InputError: Arrays of another shape, values that are not finite, texts that are not the table's captions
            (``prompts_mismatched``) or are captions of scored images only (``prompts_of_scored_images``).
        DatasetError: The table has no such split.
        ConfigError: A finding source is not in the table or has no AUC (``finding_sources_unknown``).
    """
    settings = settings or EvaluationSettings()
    data = prepare_data(table, image_embeddings, prompts, prompt_embeddings, logit_scale, settings=settings)
    return _score(data, name=name, command=command)


def _score(data: EvaluationData, *, name: str, command: str) -> Report:
    neighbours = find_neighbours(data)
    recall, precision = text_to_image(data)
    sources = tuple(dict.fromkeys(sample.source for sample in data.samples))
    findings = {source: scored for source in sources if (scored := score_findings(data, source)) is not None}
    with_auc = tuple(source for source, scored in findings.items() if scored.figures.mean_auc is not None)
    averaged = _choose_finding_sources(data.settings.finding_sources, with_auc)
    return Report(
        model=name,
        command=command,
        settings=data.settings,
        images=len(data.samples),
        patients=len(np.unique(data.groups)),
        prompts=len(data.prompts),
        prompt_source=data.prompt_set.source,
        warnings=(*data.prompt_set.warnings, *similar_labels(data.samples)),
        unknown_patients=sum(not sample.patient_id for sample in data.samples),
        modality_accuracy=best_prompt_accuracy(data, ("modality",)),
        anatomy_accuracy=best_prompt_accuracy(data, ("modality", "anatomy")),
        mean_auc=mean_over_sources([findings[source] for source in averaged]),
        finding_sources=averaged,
        sources={
            source: SourceFigures(
                images=len(rows := data.rows_of(source)),
                labels=len(set(data.labels[rows]) - {-1}),
                findings=findings[source].figures if source in findings else None,
                precision_at_k=image_to_image_precision(data, neighbours, rows),
            )
            for source in sources
        },
        precision_at_k=image_to_image_precision(data, neighbours, np.arange(len(data.samples))),
        image_to_text=image_to_text_recall(data),
        text_to_image=recall,
        text_to_image_precision=precision,
    )


def _choose_finding_sources(requested: tuple[str, ...] | None, scored: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sources to average, from those that have an AUC."""
    if requested is None:
        is_medmix = set(MEDMIX_FINDING_SOURCES) <= set(scored)
        return MEDMIX_FINDING_SOURCES if is_medmix else scored
    unknown = [source for source in requested if source not in scored]
    if unknown or not requested:
        raise ConfigError(
            f"expected finding sources out of {', '.join(scored) or 'none'}, got {', '.join(requested) or 'none'}: "
            "each needs images of two labels with a finding in the scored split",
            code="finding_sources_unknown",
        )
    return requested
