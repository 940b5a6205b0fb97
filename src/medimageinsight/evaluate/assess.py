"""Assess one model: every method on every source, with every choice made on the validation split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.assessment_notes import list_choices, list_notes
from medimageinsight.evaluate.classes import find_classes
from medimageinsight.evaluate.classification import accuracies, mean_aucs, score_classes
from medimageinsight.evaluate.evaluation import score_table
from medimageinsight.evaluate.groups import MEASURES, by_group
from medimageinsight.evaluate.methods import (
    KNN,
    PROBE,
    ZERO_SHOT,
    score_knn,
    score_linear_probe,
    score_zero_shot,
)
from medimageinsight.evaluate.operating_points import find_operating_points
from medimageinsight.evaluate.reliability import pooled_reliability, score_reliability
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.metrics.scores import mean_ignoring_nan, roc_corners
from medimageinsight.metrics.thresholds import Criterion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medimageinsight.evaluate.classes import SourceClasses
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.evaluate.figures import Report
    from medimageinsight.evaluate.groups import Grouping
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Floats, Weights


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
    chosen, and only zero-shot and retrieval figures are made.

    Args:
        embedded: All splits of a table, embedded by the model.
        settings: What to score and how.
        groups: By column, the group of every row of the table, '' for unknown.
        name: The model's name.
        command: The command that repeats the assessment.

    Raises:
        DatasetError: The table has no such split (``dataset_split_unknown``).
        ConfigError: As `score_table`.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or AssessmentSettings()
    report = _score_table(embedded, settings, name=name, command=command)
    resamples = Resamples.draw(embedded, settings.evaluation)
    train_split, val_split = _usable_splits(settings, embedded.table.splits)
    sources = find_classes(embedded, split=settings.evaluation.split, train_split=train_split, val_split=val_split)
    scores = _score_methods(embedded, sources, val_split)
    averaged = _averaged_sources(report, scores)
    return Assessment(
        report=report,
        settings=settings,
        methods={
            method: _assess_method(by_source, averaged, settings, resamples, has_val=val_split is not None)
            for method, by_source in scores.items()
        },
        groups=tuple(_score_groups(groups or {}, scores, resamples)),
        choices=tuple(list_choices(settings, report, scores, val_split)),
        notes=tuple(list_notes(settings, embedded.table.splits, sources, scores, val_split)),
        scores=scores,
    )


def _score_table(embedded: EmbeddedTable, settings: AssessmentSettings, *, name: str, command: str) -> Report:
    return score_table(
        embedded.table,
        embedded.images[embedded.rows_of(settings.evaluation.split)],
        embedded.prompts,
        embedded.prompt_embeddings,
        embedded.logit_scale,
        settings=settings.evaluation,
        name=name,
        command=command,
    )


def _usable_splits(settings: AssessmentSettings, splits: Mapping[str, int]) -> tuple[str | None, str | None]:
    """Return the training and the validation split; None if it does not exist or one of the two is scored."""
    if settings.evaluation.split in (None, settings.train_split, settings.val_split):
        return None, None
    return (
        settings.train_split if settings.train_split in splits else None,
        settings.val_split if settings.val_split in splits else None,
    )


def _score_methods(
    embedded: EmbeddedTable, sources: Sequence[SourceClasses], val_split: str | None
) -> dict[str, dict[str, MethodScores]]:
    """Return the scores by method and source, without methods that cannot be used."""
    scores: dict[str, dict[str, MethodScores]] = {
        ZERO_SHOT: {classes.source: score_zero_shot(embedded, classes) for classes in sources}
    }
    if val_split is not None:
        for method, score in ((KNN, score_knn), (PROBE, score_linear_probe)):
            by_source = {classes.source: score(embedded, classes, val_split=val_split) for classes in sources}
            scores[method] = {source: scored for source, scored in by_source.items() if scored and len(scored.rows)}
    return {method: by_source for method, by_source in scores.items() if by_source}


def _averaged_sources(report: Report, scores: Mapping[str, Mapping[str, MethodScores]]) -> tuple[str, ...]:
    """Return the report's finding sources, or all sources if it has none, that every method can score."""
    names = report.finding_sources or tuple(report.sources)
    return tuple(name for name in names if all(name in by_source for by_source in scores.values()))


def _assess_method(
    scores: Mapping[str, MethodScores],
    averaged: Sequence[str],
    settings: AssessmentSettings,
    resamples: Resamples,
    *,
    has_val: bool,
) -> MethodAssessment:
    criteria = [Criterion.parse(text) for text in settings.criteria]

    def mean(measure: Callable[[MethodScores, Weights], Floats]) -> Figure | None:
        if not averaged:
            return None
        values = [measure(scores[source], resamples.weights_of(scores[source].rows)) for source in averaged]
        return resamples.figure(mean_ignoring_nan(np.stack(values, axis=1)), len(averaged))

    error, bins = pooled_reliability([scores[source] for source in averaged], resamples)
    return MethodAssessment(
        averaged=tuple(averaged),
        mean_auc=mean(mean_aucs),
        accuracy=mean(accuracies),
        calibration_error=error,
        reliability=bins,
        sources={
            source: SourceAssessment(
                figures=score_classes(of_source, resamples),
                calibration=score_reliability(of_source, resamples),
                operating=find_operating_points(of_source, criteria, resamples) if has_val else None,
                roc={
                    label: roc_corners(of_source.probabilities[:, index], of_source.truth == index)
                    for index, label in enumerate(of_source.names)
                    if 0 < (of_source.truth == index).sum() < len(of_source.truth)
                },
            )
            for source, of_source in scores.items()
        },
    )


def _score_groups(
    groups: Mapping[str, Sequence[str]], scores: Mapping[str, Mapping[str, MethodScores]], resamples: Resamples
) -> list[Grouping]:
    return [
        by_group(column, group_of_row, list(by_source.values()), resamples, measure)
        for column, group_of_row in groups.items()
        for by_source in scores.values()
        for measure in MEASURES
    ]
