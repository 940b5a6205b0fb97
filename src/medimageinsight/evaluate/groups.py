"""Figures by group of patients, and the gap between groups; always within a source, as sources differ in difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.classification import MEASURES
from medimageinsight.evaluate.group_columns import sorted_groups
from medimageinsight.metrics.intervals import difference_figure, mean_difference, mean_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure

MIN_PATIENTS = 10  # of a group in a source: figures of fewer are unreliable and could identify a patient


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """One group by one measure.

    Attributes:
        images: Scored images of the group, in sources with enough of its patients.
        sources: Number of such sources.
        value: The mean over these sources; None without such a source.
        difference: From the other known groups of the same sources, mean over the sources where both can be scored.
    """

    name: str
    images: int
    sources: int
    value: Figure | None
    difference: Figure | None


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of one column by one method and measure.

    Attributes:
        measure: A key of `MEASURES`.
        groups: Sorted by name.
        gap: Best less worst group of a source, mean over the sources with two groups or more. Chance makes a gap among
            several equal groups; the interval is that of the observed best and worst groups.
        unknown: Scored images whose group is unknown.
        too_few: Number of groups without figures, as they have fewer than ten patients in every source; they are not
            named, as a name could be a patient's.
    """

    column: str
    method: str
    measure: str
    groups: tuple[GroupFigures, ...]
    gap: Figure | None
    unknown: int
    too_few: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _SourceGroup:
    """One group of one source, and its difference from the source's other groups."""

    images: int
    value: Figure
    difference: Figure | None


def by_group(
    column: str, groups: Sequence[str], all_scores: Sequence[MethodScores], resamples: Resamples, measure: str
) -> Grouping:
    """Return the figures by the groups of one column, for one method's scores, one for each source.

    ``groups`` has the group of every row of the table, '' for unknown; ``measure`` is a key of `MEASURES`.
    """
    group_of_row = np.array(groups, dtype=object)
    names = sorted_groups([groups[row] for row in resamples.rows])
    sources = [_score_source(scores, group_of_row[scores.rows], names, resamples, measure) for scores in all_scores]
    figures = []
    for name in names:
        in_sources = [source[name] for source in sources if name in source]
        images = sum(group.images for group in in_sources)
        figures.append(
            GroupFigures(
                name=name,
                images=images,
                sources=len(in_sources),
                value=mean_figure([group.value for group in in_sources], count=images),
                difference=mean_difference([group.difference for group in in_sources], count=images),
            )
        )
    compared = [source for source in sources if len(source) > 1]
    gap_images = sum(group.images for source in compared for group in source.values())
    return Grouping(
        column=column,
        method=all_scores[0].method if all_scores else "",
        measure=measure,
        groups=tuple(figure for figure in figures if figure.value is not None),
        gap=mean_difference([_gap(source) for source in compared], count=gap_images),
        unknown=sum(not groups[row] for row in resamples.rows),
        too_few=sum(figure.value is None for figure in figures),
    )


def _score_source(
    scores: MethodScores, group_of_image: NDArray[np.object_], names: Sequence[str], resamples: Resamples, measure: str
) -> dict[str, _SourceGroup]:
    """Return the groups of one source that have enough patients and can be scored."""
    patients = resamples.groups_of(scores.rows)
    large = [name for name in names if len(np.unique(patients[group_of_image == name])) >= MIN_PATIENTS]
    scored = {}
    for name in large:
        members = group_of_image == name
        value = MEASURES[measure].figure(scores, members, resamples)
        if value is None:
            continue
        others = np.isin(group_of_image, [other for other in large if other != name])
        against = MEASURES[measure].figure(scores, others, resamples)
        scored[name] = _SourceGroup(
            images=int(members.sum()),
            value=value,
            difference=None if against is None else difference_figure(value, against),
        )
    return scored


def _gap(source: Mapping[str, _SourceGroup]) -> Figure:
    """Return the best group less the worst group; the split itself decides which these are."""
    values = [group.value for group in source.values()]
    return difference_figure(max(values, key=_value), min(values, key=_value))


def _value(figure: Figure) -> float:
    return figure.value
