"""Figures by group, and how far groups are apart: always within a source, so that a group's cases do not decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.classification import accuracies, mean_aucs
from medimageinsight.evaluate.group_columns import sizes
from medimageinsight.metrics.scores import mean_of_known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Weights

LEAST_PATIENTS = 10  # of a group in a source: fewer say nothing, and could be known again
MEASURES: dict[str, Callable[[Scores, Weights], Floats]] = {"mean AUC": mean_aucs, "accuracy": accuracies}


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """One group by one measure; None where no source has enough of its patients.

    Attributes:
        name: The group.
        images: Scored pictures of the group, of sources it has enough patients in.
        sources: How many such sources.
        value: The mean over these sources.
        difference: From the other known groups of the same sources, mean over those where both can be scored.
    """

    name: str
    images: int
    sources: int
    value: Figure | None
    difference: Figure | None


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """One column by one method and measure.

    Attributes:
        column: What was grouped by.
        method: Of `Scores`.
        measure: A name of `MEASURES`.
        groups: In order of their names.
        gap: Best less worst group of a source, mean over the sources with two groups or more. Among several groups
            that are alike, chance makes a gap; the interval holds for the gap that was found.
        unknown: Scored pictures whose group is not known.
        too_few: How many groups have no figures, as they have fewer than ten patients in every source; a name could be
            a patient's.
    """

    column: str
    method: str
    measure: str
    groups: tuple[GroupFigures, ...]
    gap: Figure | None
    unknown: int
    too_few: int


def by_group(
    column: str, groups: Sequence[str], all_scores: Sequence[Scores], resamples: Resamples, measure: str
) -> Grouping:
    """Figures by the groups of one column.

    Args:
        column: Its name.
        groups: The group of every row of the table, '' for unknown.
        all_scores: One method's, of each source.
        resamples: The evaluation's.
        measure: A name of `MEASURES`.
    """
    of_row = np.array(groups, dtype=object)
    names = list(sizes([groups[row] for row in resamples.rows]))
    values: dict[str, list[Floats]] = {name: [] for name in names}
    differences: dict[str, list[Floats]] = {name: [] for name in names}
    images = dict.fromkeys(names, 0)
    gaps, gap_images = [], 0
    for scores in all_scores:
        own = of_row[scores.rows]
        patients = resamples.patients_of(scores.rows)
        enough = [name for name in names if len(np.unique(patients[own == name])) >= LEAST_PATIENTS]
        scored = {name: _measured(scores, own == name, resamples, measure) for name in enough}
        scored = {name: one for name, one in scored.items() if not np.isnan(one[0])}
        for name, one in scored.items():
            values[name].append(one)
            images[name] += int((own == name).sum())
            rest = np.isin(own, [other for other in enough if other != name])
            against = _measured(scores, rest, resamples, measure)
            if not np.isnan(against[0]):
                differences[name].append(one - against)
        if len(scored) > 1:
            of_groups = np.stack(list(scored.values()))
            best, worst = of_groups[:, 0].argmax(), of_groups[:, 0].argmin()  # in the split itself
            gaps.append(of_groups[best] - of_groups[worst])
            gap_images += int(np.isin(own, list(scored)).sum())
    figures = [
        GroupFigures(
            name=name,
            images=images[name],
            sources=len(values[name]),
            value=_mean(values[name], resamples, images[name]),
            difference=_mean(differences[name], resamples, images[name]),
        )
        for name in names
    ]
    return Grouping(
        column=column,
        method=all_scores[0].method if all_scores else "",
        measure=measure,
        groups=tuple(one for one in figures if one.value is not None),
        gap=_mean(gaps, resamples, gap_images),
        unknown=sum(not groups[row] for row in resamples.rows),
        too_few=sum(one.value is None for one in figures),
    )


def _measured(scores: Scores, members: Flags, resamples: Resamples, measure: str) -> Floats:
    """(1 + R,) of some of one source's pictures, NaN where they do not allow it."""
    weights = resamples.of(scores.rows) * members
    return MEASURES[measure](scores, weights)


def _mean(values: Sequence[Floats], resamples: Resamples, count: int) -> Figure | None:
    return resamples.figure(mean_of_known(np.stack(values, axis=1)), count) if values else None
