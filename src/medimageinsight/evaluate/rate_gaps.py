"""Gaps in sensitivity and false-positive rate between groups of patients, at the operating points of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.group_columns import sorted_groups
from medimageinsight.evaluate.groups import MIN_PATIENTS
from medimageinsight.metrics.intervals import difference_figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.evaluate.label_scores import LabelScores
    from medimageinsight.evaluate.operating_points import OperatingPoint
    from medimageinsight.evaluate.resamples import Resamples
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags

SENSITIVITY, FALSE_POSITIVE_RATE = "sensitivity", "false positive rate"


@dataclass(frozen=True, kw_only=True)
class GroupRate:
    """One group at one operating point.

    Attributes:
        images: Images that the rate is of: positives of a sensitivity, negatives of a false positive rate.
        patients: Their patients.
        value: The rate; None with too few patients.
        difference: Less the rate of the other known groups; None where either has too few.
    """

    name: str
    images: int
    patients: int
    value: Figure | None
    difference: Figure | None


@dataclass(frozen=True, kw_only=True)
class RateGap:
    """One rate of the groups of one column, for one class at one operating point.

    Attributes:
        criterion: How the operating point was chosen.
        measure: ``sensitivity`` or ``false positive rate``.
        groups: Sorted by name; groups of fewer than ten patients are not named.
        highest: The group with the highest rate, '' without two groups that have one.
        lowest: The group with the lowest rate.
        gap: Highest less lowest; None with fewer than two groups that have a rate. Chance makes a gap among equal
            groups.
        unknown: Images that the rate is of whose group is unknown.
        too_few: Number of groups with fewer than ten patients.
    """

    column: str
    method: str
    source: str
    label: str
    criterion: str
    threshold: float
    measure: str
    groups: tuple[GroupRate, ...]
    highest: str
    lowest: str
    gap: Figure | None
    unknown: int
    too_few: int


def find_rate_gaps(
    groups: Mapping[str, Sequence[str]],
    method: str,
    source: str,
    labels: Sequence[LabelScores],
    points: Sequence[OperatingPoint],
    resamples: Resamples,
) -> tuple[RateGap, ...]:
    """Return the gaps of one method on one source by column, class, criterion and measure.

    ``groups`` has by column the group of every row of the table, '' for unknown.
    """
    by_label = {scores.label: scores for scores in labels}
    return tuple(
        gap
        for column, group_of_row in groups.items()
        for point in points
        for gap in _gaps_at(column, group_of_row, method, source, by_label[point.label], point, resamples)
    )


def _gaps_at(
    column: str,
    group_of_row: Sequence[str],
    method: str,
    source: str,
    scores: LabelScores,
    point: OperatingPoint,
    resamples: Resamples,
) -> Iterator[RateGap]:
    group_of_image = np.array([group_of_row[row] for row in scores.rows], dtype=object)
    patients = resamples.groups_of(scores.rows)
    names = sorted_groups(list(group_of_image))
    large = [name for name in names if len(np.unique(patients[group_of_image == name])) >= MIN_PATIENTS]
    predicted = scores.scores >= point.threshold
    for measure, among in ((SENSITIVITY, scores.positives), (FALSE_POSITIVE_RATE, ~scores.positives)):
        rates = tuple(_group_rate(name, large, group_of_image, predicted, among, scores, resamples) for name in large)
        known = [(rate.name, rate.value) for rate in rates if rate.value is not None]
        highest, lowest, gap = "", "", None
        if len(known) > 1:
            (highest, most), (lowest, least) = max(known, key=_rate), min(known, key=_rate)
            gap = difference_figure(most, least)
        yield RateGap(
            column=column,
            method=method,
            source=source,
            label=scores.label,
            criterion=point.criterion,
            threshold=point.threshold,
            measure=measure,
            groups=rates,
            highest=highest,
            lowest=lowest,
            gap=gap,
            unknown=int((among & (group_of_image == "")).sum()),
            too_few=len(names) - len(large),
        )


def _group_rate(
    name: str,
    large: Sequence[str],
    group_of_image: NDArray[np.object_],
    predicted: Flags,
    among: Flags,
    scores: LabelScores,
    resamples: Resamples,
) -> GroupRate:
    members = among & (group_of_image == name)
    others = among & np.isin(group_of_image, [other for other in large if other != name])
    value, against = (_share(predicted, chosen, scores, resamples) for chosen in (members, others))
    return GroupRate(
        name=name,
        images=int(members.sum()),
        patients=len(np.unique(resamples.groups_of(scores.rows[members]))),
        value=value,
        difference=None if value is None or against is None else difference_figure(value, against),
    )


def _share(predicted: Flags, chosen: Flags, scores: LabelScores, resamples: Resamples) -> Figure | None:
    """Return the share of predicted images among some; None with too few patients."""
    rows = scores.rows[chosen]
    if len(np.unique(resamples.groups_of(rows))) < resamples.min_positives:
        return None
    return resamples.share(predicted[chosen], rows)


def _rate(named: tuple[str, Figure]) -> float:
    return named[1].value
