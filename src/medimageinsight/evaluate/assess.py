"""Assesses one model: every method on every source, every choice made on the split for choosing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.assessment import Assessment, AssessmentSettings, MethodAssessment, SourceAssessment
from medimageinsight.evaluate.benchmark import score_table
from medimageinsight.evaluate.classes import read_classes
from medimageinsight.evaluate.classification import accuracies, mean_aucs, score_classes
from medimageinsight.evaluate.groups import MEASURES, by_group
from medimageinsight.evaluate.methods import KNN, PROBE, ZERO_SHOT, Choice, by_linear_probe, by_neighbours, zero_shot
from medimageinsight.evaluate.operating import operating_points
from medimageinsight.evaluate.reliability import calibrate, pool
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.metrics.scores import mean_of_known, roc_corners
from medimageinsight.metrics.thresholds import Criterion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medimageinsight.evaluate.classes import SourceClasses
    from medimageinsight.evaluate.embedded import EmbeddedTable
    from medimageinsight.evaluate.figures import Report
    from medimageinsight.evaluate.groups import Grouping
    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Floats, Weights

METHODS = (ZERO_SHOT, KNN, PROBE)


def assess(
    embedded: EmbeddedTable,
    *,
    settings: AssessmentSettings | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    name: str = "model",
    command: str = "",
) -> Assessment:
    """Score one model on one split in every way that the table allows.

    The scored split chooses nothing. Where it is also the one to learn from or to choose on, nothing is learnt and
    nothing chosen: zero-shot and retrieval figures remain.

    Args:
        embedded: All splits of a table, seen by the model.
        settings: What to score and how.
        groups: By column, the group of every row of the table, '' for unknown.
        name: The model's name.
        command: The command that repeats the figures.

    Raises:
        DatasetError: The table has no such split (``dataset_split_unknown``).
        ConfigError: As `score_table`.
        MissingExtraError: Without scikit-learn.
    """
    settings = settings or AssessmentSettings()
    chosen, splits = settings.evaluation, embedded.table.splits
    scored = embedded.rows_of(chosen.split)
    report = score_table(
        embedded.table,
        embedded.images[scored],
        embedded.prompts,
        embedded.prompt_embeddings,
        embedded.logit_scale,
        settings=chosen,
        name=name,
        command=command,
    )
    resamples = Resamples.draw(
        embedded, split=chosen.split, resamples=chosen.resamples, seed=chosen.seed, confidence=chosen.confidence
    )
    apart = chosen.split not in (None, settings.train_split, settings.val_split)
    train_split, val_split = (
        one if apart and one in splits else None for one in (settings.train_split, settings.val_split)
    )
    sources = read_classes(embedded, split=chosen.split, train_split=train_split, val_split=val_split)
    scores = _score(embedded, sources, val_split)
    averaged = _averaged(report, scores)
    return Assessment(
        report=report,
        settings=settings,
        methods={
            method: _assess(scores[method], averaged, settings, resamples, has_val=val_split is not None)
            for method in scores
        },
        groups=tuple(_group(groups or {}, scores, resamples)),
        choices=tuple(_choices(settings, report, scores, val_split)),
        notes=tuple(_notes(settings, splits, sources, scores, train_split, val_split)),
        scores=scores,
    )


def _score(
    embedded: EmbeddedTable, sources: Sequence[SourceClasses], val_split: str | None
) -> dict[str, dict[str, Scores]]:
    """By method and source, those that could be made."""
    found: dict[str, dict[str, Scores]] = {ZERO_SHOT: {one.source: zero_shot(embedded, one) for one in sources}}
    learnt: tuple[tuple[str, Callable[..., Scores | None]], ...] = ((KNN, by_neighbours), (PROBE, by_linear_probe))
    for method, learn in learnt if val_split is not None else ():
        made = {one.source: learn(embedded, one, val_split=val_split) for one in sources}
        found[method] = {source: one for source, one in made.items() if one is not None and len(one.rows)}
    return {method: of_source for method, of_source in found.items() if of_source}


def _averaged(report: Report, scores: Mapping[str, Mapping[str, Scores]]) -> tuple[str, ...]:
    """The report's finding sources, of those that every method has; every source where it has none."""
    names = report.finding_sources or tuple(report.sources)
    return tuple(name for name in names if all(name in of_source for of_source in scores.values()))


def _assess(
    scores: Mapping[str, Scores],
    averaged: Sequence[str],
    settings: AssessmentSettings,
    resamples: Resamples,
    *,
    has_val: bool,
) -> MethodAssessment:
    criteria = [Criterion.parse(one) for one in settings.criteria]

    def mean(measure: Callable[[Scores, Weights], Floats]) -> Figure | None:
        if not averaged:
            return None
        values = [measure(scores[source], resamples.of(scores[source].rows)) for source in averaged]
        return resamples.figure(mean_of_known(np.stack(values, axis=1)), len(averaged))

    error, bins = pool([scores[source] for source in averaged], resamples)
    return MethodAssessment(
        averaged=tuple(averaged),
        mean_auc=mean(mean_aucs),
        accuracy=mean(accuracies),
        calibration_error=error,
        reliability=bins,
        sources={
            source: SourceAssessment(
                figures=score_classes(one, resamples),
                calibration=calibrate(one, resamples),
                operating=operating_points(one, criteria, resamples) if has_val else None,
                roc={
                    label: roc_corners(one.probabilities[:, place], one.truth == place)
                    for place, label in enumerate(one.names)
                    if 0 < (one.truth == place).sum() < len(one.truth)
                },
            )
            for source, one in scores.items()
        },
    )


def _group(
    groups: Mapping[str, Sequence[str]], scores: Mapping[str, Mapping[str, Scores]], resamples: Resamples
) -> list[Grouping]:
    return [
        by_group(column, of_row, list(of_source.values()), resamples, measure)
        for column, of_row in groups.items()
        for of_source in scores.values()
        for measure in MEASURES
    ]


def _choices(
    settings: AssessmentSettings,
    report: Report,
    scores: Mapping[str, Mapping[str, Scores]],
    val_split: str | None,
) -> list[Choice]:
    fixed = [
        Choice(what="prompts", value=f"{report.prompts:,} captions", how="the distinct captions of the whole table"),
        Choice(
            what="sources in the mean",
            value=", ".join(report.finding_sources) or "all",
            how="by the command, else all with findings; those of medmix are a list in the program",
        ),
        Choice(
            what="intervals",
            value=f"{report.settings.confidence:.0%}",
            how=f"{report.settings.resamples:,} resamples of patients within each source, seed {report.settings.seed}",
        ),
    ]
    learnt = [choice for of_source in scores.values() for one in of_source.values() for choice in one.choices]
    if val_split is None:
        return fixed
    return [
        *fixed,
        *learnt,
        Choice(
            what="thresholds, every method, source and class",
            value=", ".join(settings.criteria),
            how="the most sensitivity + specificity (youden); the most specificity of those with a least sensitivity",
            split=val_split,
        ),
        Choice(
            what="temperatures, every method and source",
            value="in the table of calibration",
            how="the least log loss; used for the column that says so and for nothing else",
            split=val_split,
        ),
    ]


def _notes(
    settings: AssessmentSettings,
    splits: Mapping[str, int],
    sources: Sequence[SourceClasses],
    scores: Mapping[str, Mapping[str, Scores]],
    train_split: str | None,
    val_split: str | None,
) -> list[str]:
    notes = []
    scored = settings.evaluation.split
    if scored in (None, settings.train_split, settings.val_split):
        what = "all pictures are" if scored is None else f"the {scored} split is"
        notes.append(f"Nothing was learnt or chosen, as {what} scored: no kNN, linear probe or thresholds.")
    else:
        for split, needs in (
            (settings.train_split, "kNN and the linear probe"),
            (settings.val_split, "kNN, the linear probe, thresholds and temperatures"),
        ):
            if split not in splits:
                notes.append(f"The table has no {split} split, which {needs} need.")
    for one in sources:
        if one.shared:
            notes.append(
                f"{one.source or '(no name)'}: {one.shared:,} pictures to learn from or to choose on were left out, "
                "as their patients are in a later split too."
            )
        if absent := _absent(one):
            notes.append(f"{one.source or '(no name)'}: not in the {val_split} split: {', '.join(absent)}.")
        for method, of_source in scores.items():
            if one.source not in of_source:
                notes.append(
                    f"{one.source or '(no name)'}: no {method}: it needs two classes in the {train_split} split and "
                    f"pictures of them in the {val_split} split."
                )
            elif unseen := of_source[one.source].unseen:
                notes.append(
                    f"{one.source or '(no name)'}: {method} knows no {', '.join(unseen)}, which the "
                    f"{train_split} split lacks; such pictures are left out there."
                )
    return notes


def _absent(classes: SourceClasses) -> list[str]:
    """Classes that are scored and that there is no picture of to choose on, though there are some of others."""
    if not len(classes.val):
        return []
    return [classes.names[one] for one in np.setdiff1d(classes.test.truth, classes.val.truth)]
