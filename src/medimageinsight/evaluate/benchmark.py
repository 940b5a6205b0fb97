"""Evaluates a model on a table of labelled pictures: zero-shot, findings, retrieval.

The prompts are the table's captions, of all splits (see :mod:`medimageinsight.evaluate.zeroshot`); one split is scored.
A label is a class within its source, so that "normal" of two sources are two labels. Intervals come from resampling
patients within each source, for caption queries from resampling labels; galleries stay whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.embedded import embed_samples
from medimageinsight.evaluate.figures import EvaluationSettings, Report, SourceFigures
from medimageinsight.evaluate.scoring import (
    best_prompt_accuracy,
    find_neighbours,
    image_to_image_precision,
    image_to_text_recall,
    mean_over_sources,
    score_findings,
    search_by_caption,
)
from medimageinsight.evaluate.trial import prepare, scored_samples
from medimageinsight.evaluate.zeroshot import caption_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.embedded import Model

# The sources of medmix whose labels are findings that a reader would report; the published mean AUC is over these.
MEDMIX_FINDING_SOURCES = ("kermany_cxr", "knee_kl", "brain_tumor_mri", "busi", "idrid", "isic_uda1", "pbc_blood")


def evaluate(
    model: Model,
    table: Table,
    *,
    settings: EvaluationSettings | None = None,
    name: str = "model",
    command: str = "",
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Embeds the pictures of a split and the captions of the table, and scores them.

    Args:
        model: Embeds pictures and texts.
        table: All splits of a table, with medmix's columns.
        settings: What to score and how.
        name: The model's name, for the report.
        command: The command that repeats the figures, for the report.
        progress: Called with the number of pictures embedded so far.

    Raises:
        DatasetError: The table has no such split, or pictures cannot be read (``dataset_broken_images``).
        ConfigError: A finding source that the table does not have, or that has no AUC.
    """
    settings = settings or EvaluationSettings()
    samples = scored_samples(table, settings)
    prompts = caption_prompts(table)
    prompt_embeddings = model.embed_texts(prompts)
    return score_table(
        table,
        embed_samples(model, table, samples, progress=progress),
        prompts,
        prompt_embeddings,
        model.logit_scale,
        settings=settings,
        name=name,
        command=command,
    )


def score_table(
    table: Table,
    image_embeddings: NDArray[np.float32],
    prompts: Sequence[str],
    prompt_embeddings: NDArray[np.float32],
    logit_scale: float,
    *,
    settings: EvaluationSettings | None = None,
    name: str = "model",
    command: str = "",
) -> Report:
    """Scores embeddings that are already there: the core of :func:`evaluate`, arrays in and figures out.

    Args:
        table: All splits of a table, which give the captions their meaning.
        image_embeddings: (N, D) float32, L2-normalised, the scored split's pictures in the table's order.
        prompts: P texts, the table's distinct captions in any order (``caption_prompts``).
        prompt_embeddings: (P, D) float32, L2-normalised.
        logit_scale: A logarithm.
        settings: What to score and how; ``settings.split`` names the scored split.
        name: The model's name, for the report.
        command: The command that repeats the figures, for the report.

    Raises:
        InputError: Arrays of another shape, values that are not finite, or prompts that are not the table's captions.
        DatasetError: The table has no such split.
        ConfigError: A finding source that the table does not have, or that has no AUC.
    """
    settings = settings or EvaluationSettings()
    trial = prepare(table, image_embeddings, prompts, prompt_embeddings, logit_scale, settings=settings)
    neighbours = find_neighbours(trial)
    captions = search_by_caption(trial)
    names = tuple(dict.fromkeys(sample.source for sample in trial.samples))
    findings = {source: scored for source in names if (scored := score_findings(trial, source)) is not None}
    averaged = _choose_finding_sources(settings.finding_sources, tuple(findings))
    return Report(
        model=name,
        command=command,
        settings=settings,
        images=len(trial.samples),
        patients=len(np.unique(trial.groups)),
        prompts=len(prompts),
        modality_accuracy=best_prompt_accuracy(trial, ("modality",)),
        anatomy_accuracy=best_prompt_accuracy(trial, ("modality", "anatomy")),
        mean_auc=mean_over_sources(trial, [findings[source] for source in averaged]),
        finding_sources=averaged,
        sources={
            source: SourceFigures(
                images=len(rows := trial.rows_of(source)),
                labels=len(set(trial.labels[rows]) - {-1}),
                findings=findings[source].figures if source in findings else None,
                precision_at_k=image_to_image_precision(trial, neighbours, rows),
            )
            for source in names
        },
        precision_at_k=image_to_image_precision(trial, neighbours, np.arange(len(trial.samples))),
        image_to_text=image_to_text_recall(trial),
        text_to_image=captions.recall,
        text_to_image_precision=captions.precision,
    )


def _choose_finding_sources(asked: tuple[str, ...] | None, scored: tuple[str, ...]) -> tuple[str, ...]:
    """The sources to average, of those that have an AUC."""
    if asked is None:
        is_medmix = set(MEDMIX_FINDING_SOURCES) <= set(scored)
        return MEDMIX_FINDING_SOURCES if is_medmix else scored
    unknown = [source for source in asked if source not in scored]
    if unknown or not asked:
        raise ConfigError(
            f"expected finding sources out of {', '.join(scored) or 'none'}, got {', '.join(asked) or 'none'}: "
            "each needs pictures of two labels with a finding in the scored split",
            code="finding_sources_unknown",
        )
    return asked
