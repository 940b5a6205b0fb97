"""Assess one model or two: every method on every source, with every choice made on the validation split."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medimageinsight.datasets import with_dicom_patients
from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.assessment_notes import list_choices, list_notes
from medimageinsight.evaluate.classes import find_classes
from medimageinsight.evaluate.classification import MEASURES, score_classes
from medimageinsight.evaluate.comparison import AssessedModels, compare
from medimageinsight.evaluate.embedding import Model, embed_table
from medimageinsight.evaluate.evaluation import score_table
from medimageinsight.evaluate.groups import by_group
from medimageinsight.evaluate.methods import KNN, PROBE, ZERO_SHOT, score_trained, score_zero_shot
from medimageinsight.evaluate.operating_points import find_operating_points
from medimageinsight.evaluate.prompt_set import choose_prompts
from medimageinsight.evaluate.rate_gaps import find_rate_gaps
from medimageinsight.evaluate.reliability import pooled_reliability, score_reliability
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.metrics.intervals import mean_figure
from medimageinsight.metrics.scores import roc_corners
from medimageinsight.metrics.thresholds import Criterion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from medimageinsight.datasets import Table
    from medimageinsight.evaluate.classes import SourceClasses
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.prompt_set import PromptSet
    from medimageinsight.evaluate.results import EvaluationSettings, Report
    from medimageinsight.metrics.scores import Integers


class NamedModel(Model, Protocol):
    """A `Model` with a name for the report."""

    @property
    def name(self) -> str:
        """The model's name."""


def assess_models(
    model: NamedModel,
    table: Table,
    *,
    against: NamedModel | None = None,
    settings: AssessmentSettings | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    prompts: PromptSet | None = None,
    command: str = "",
    progress: Callable[[str], AbstractContextManager[Callable[[int], None]]] | None = None,
) -> AssessedModels:
    """Embed a table with one model or two, `assess` each, and `compare` the two by a paired test.

    The prompts are those of `choose_prompts` by default. ``progress`` is called with a model's name; the block gets a
    function that takes the number of images embedded so far.

    Raises:
        DatasetError: The table has no such split, or images cannot be read (``dataset_broken_images``).
        ConfigError: As `score_table`.
        MissingExtraError: scikit-learn is not installed.
    """
    models = [model] if against is None else [model, against]
    names = [named.name for named in models]
    if len(set(names)) < len(names):
        names = [f"{names[0]} (model)", f"{names[1]} (against)"]
    settings = settings or AssessmentSettings()
    table = replace(table, samples=with_dicom_patients(table))
    prompts = prompts or choose_prompts(table, settings.evaluation.split)
    embedded, assessed = [], []
    for named, name in zip(models, names, strict=True):
        with nullcontext() if progress is None else progress(name) as done:
            embedded.append(embed_table(named, table, prompts=prompts, progress=done))
        assessed.append(assess(embedded[-1], settings=settings, groups=groups, name=name, command=command))
    if against is None:
        return AssessedModels(assessment=assessed[0])
    comparison = compare(embedded[0], assessed[0], embedded[1], assessed[1])
    return AssessedModels(assessment=assessed[0], other=assessed[1], comparison=comparison)


def assess(
    embedded: EmbeddedTable,
    *,
    settings: AssessmentSettings | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    name: str = "model",
    command: str = "",
) -> Assessment:
    """Score one model on one split by every method that the table allows.

    Nothing is chosen on the scored split. If it is also the training or the validation split, nothing is trained or
    chosen, and only zero-shot and retrieval figures are made. ``groups`` has, by column, the group of every row of the
    table, '' for unknown; ``command`` repeats the assessment.

    Raises:
        DatasetError: The table has no such split (``dataset_split_unknown``).
        ConfigError: As `score_table`.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or AssessmentSettings()
    embedded = embedded.with_prompts_for(settings.evaluation.split)
    report = _score_table(embedded, settings.evaluation, name=name, command=command)
    resamples = Resamples.draw(embedded, settings.evaluation)
    splits = embedded.table.splits
    train_split, val_split = (
        split if settings.is_held_out and split in splits else None
        for split in (settings.train_split, settings.val_split)
    )
    sources = find_classes(embedded, split=settings.evaluation.split, train_split=train_split, val_split=val_split)
    scores = _score_methods(embedded, sources, val_split)
    names = report.finding_sources or report.sources
    averaged = [source for source in names if all(source in by_source for by_source in scores.values())]
    methods = {
        method: _assess_method(by_source, averaged, settings, resamples, has_val=val_split is not None)
        for method, by_source in scores.items()
    }
    return Assessment(
        report=report,
        settings=settings,
        methods=methods,
        rate_gaps=tuple(
            gap
            for method, by_source in scores.items()
            for source, scored in by_source.items()
            if (operating := methods[method].sources[source].operating) is not None
            for gap in find_rate_gaps(groups or {}, method, source, scored.labels, operating.points, resamples)
        ),
        groups=tuple(
            by_group(column, group_of_row, list(by_source.values()), resamples, measure)
            for column, group_of_row in (groups or {}).items()
            for by_source in scores.values()
            for measure in MEASURES
        ),
        choices=tuple(list_choices(settings, report, scores, val_split)),
        notes=tuple(list_notes(settings, splits, sources, scores, val_split)),
        scores=scores,
    )


def _score_table(embedded: EmbeddedTable, settings: EvaluationSettings, *, name: str, command: str) -> Report:
    return score_table(
        embedded.table,
        embedded.images[embedded.rows_of(settings.split)],
        embedded.prompts,
        embedded.prompt_embeddings,
        embedded.logit_scale,
        settings=settings,
        name=name,
        command=command,
    )


def _score_methods(
    embedded: EmbeddedTable, sources: Sequence[SourceClasses], val_split: str | None
) -> dict[str, dict[str, MethodScores]]:
    """Return the scores by method and source, without methods that cannot be used."""
    found: dict[str, dict[str, MethodScores | None]] = {
        ZERO_SHOT: {classes.source: score_zero_shot(embedded, classes) for classes in sources}
    }
    if val_split is not None:
        for method in (KNN, PROBE):
            found[method] = {classes.source: score_trained(method, embedded, classes, val_split) for classes in sources}
    scores = {
        method: {source: scored for source, scored in by_source.items() if scored and len(scored.rows)}
        for method, by_source in found.items()
    }
    return _on_common_images({method: by_source for method, by_source in scores.items() if by_source})


def _on_common_images(scores: Mapping[str, Mapping[str, MethodScores]]) -> dict[str, dict[str, MethodScores]]:
    """Return the scores of the images that every method of a source can score, so that methods can be compared."""
    common: dict[str, Integers] = {}
    for by_source in scores.values():
        for source, scored in by_source.items():
            common[source] = np.intersect1d(common.get(source, scored.rows), scored.rows)
    return {
        method: {source: scored.of_rows(common[source]) for source, scored in by_source.items() if len(common[source])}
        for method, by_source in scores.items()
    }


def _assess_method(
    scores: Mapping[str, MethodScores],
    averaged: Sequence[str],
    settings: AssessmentSettings,
    resamples: Resamples,
    *,
    has_val: bool,
) -> MethodAssessment:
    criteria = [Criterion.parse(text) for text in settings.criteria]

    figures = {source: score_classes(of_source, resamples) for source, of_source in scores.items()}

    error, bins = pooled_reliability([scores[source] for source in averaged], resamples)
    return MethodAssessment(
        averaged=tuple(averaged),
        mean_auc=mean_figure([figures[source].mean_auc for source in averaged]),
        accuracy=mean_figure([figures[source].accuracy for source in averaged]),
        calibration_error=error,
        reliability=bins,
        sources={
            source: SourceAssessment(
                figures=figures[source],
                calibration=score_reliability(of_source, resamples),
                operating=find_operating_points(of_source.labels, criteria, resamples) if has_val else None,
                roc={
                    label: roc_corners(of_source.probabilities[:, index], of_source.truth == index)
                    for index, label in enumerate(of_source.names)
                    if 0 < (of_source.truth == index).sum() < len(of_source.truth)
                },
            )
            for source, of_source in scores.items()
        },
    )
