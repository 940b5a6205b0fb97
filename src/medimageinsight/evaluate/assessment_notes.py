"""The choices of an assessment and what was left out of it, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.methods import KNN, PROBE, ZERO_SHOT, Choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.evaluate.assessment import AssessmentSettings
    from medimageinsight.evaluate.classes import SourceClasses
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.results import Report


def list_choices(
    settings: AssessmentSettings,
    report: Report,
    scores: Mapping[str, Mapping[str, MethodScores]],
    val_split: str | None,
) -> list[Choice]:
    """Return every choice, how it was made and on which split."""
    fixed = [
        Choice(what="prompts", value=f"{report.prompts:,} texts", how=report.prompt_source),
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
    if val_split is None:
        return fixed
    return [
        *fixed,
        *(choice for by_source in scores.values() for scored in by_source.values() for choice in scored.choices),
        Choice(
            what="thresholds, every method, source and class",
            value=", ".join(settings.criteria),
            how="highest sensitivity + specificity (youden); highest specificity with at least a given sensitivity",
            split=val_split,
        ),
        Choice(
            what="temperatures, every method and source",
            value="in the table of calibration",
            how="lowest log loss; used only for the column with the temperature's error",
            split=val_split,
        ),
    ]


def list_notes(
    settings: AssessmentSettings,
    splits: Mapping[str, int],
    sources: Sequence[SourceClasses],
    scores: Mapping[str, Mapping[str, MethodScores]],
    val_split: str | None,
) -> list[str]:
    """Return what was left out, and why."""
    notes = _split_notes(settings, splits)
    for classes in sources:
        name = classes.display_name
        if classes.shared:
            notes.append(
                f"{name}: {classes.shared:,} images to train or to choose on were left out, as their patients are in a "
                "later split too."
            )
        absent = np.setdiff1d(classes.test.truth, classes.val.truth)
        if len(classes.val) and len(absent):
            names = ", ".join(classes.names[index] for index in absent)
            notes.append(f"{name}: not in the {val_split} split: {names}.")
        for method, by_source in scores.items():
            needed = (
                "two classes with a prompt"
                if method == ZERO_SHOT
                else f"two classes in the {settings.train_split} split and images of them in the {val_split} split"
            )
            lacking = "have no prompt" if method == ZERO_SHOT else f"are not in the {settings.train_split} split"
            if classes.source not in by_source:
                notes.append(f"{name}: no {method}: it needs {needed}.")
            elif unseen := by_source[classes.source].unseen:
                notes.append(
                    f"{name}: {method} cannot predict {', '.join(unseen)}, which {lacking}; images of these classes "
                    "are left out of the figures of all methods."
                )
    notes += [
        f"No {method}: no source has two classes in the {settings.train_split} split and images of them in the "
        f"{val_split} split."
        for method in (KNN, PROBE)
        if val_split is not None and settings.train_split in splits and method not in scores
    ]
    return notes


def _split_notes(settings: AssessmentSettings, splits: Mapping[str, int]) -> list[str]:
    scored = settings.evaluation.split
    if not settings.is_held_out:
        subject = "all images are" if scored is None else f"the {scored} split is"
        return [f"Nothing was trained or chosen, as {subject} scored: no kNN, linear probe or thresholds."]
    return [
        f"The table has no {split} split, which {methods} need."
        for split, methods in (
            (settings.train_split, "kNN and the linear probe"),
            (settings.val_split, "kNN, the linear probe, thresholds and temperatures"),
        )
        if split not in splits
    ]
