"""Compare two models on the same images of the same table: differences, their intervals and p-values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.classification import MEASURES, has_class_auc, is_correct
from medimageinsight.evaluate.evaluation_data import number_values
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.intervals import combine_figures, difference_figure, resampled_correlation
from medimageinsight.metrics.permutation import (
    draw_swaps,
    holm_adjust,
    permutation_p_value,
    swapped_aucs,
    swapped_means,
)
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import mean_ignoring_nan, precision_at_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.evaluate.methods import MethodScores
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One measure of both models on one source, or its mean over sources.

    Attributes:
        measure: Such as ``zero-shot, mean AUC``; higher is better in all of them.
        source: Its name; None for the mean.
        difference: The first less the second, from the same resamples of both.
        p: The p-value of the permutation test.
        p_family: The p-value adjusted by Holm's method: of a source for all sources of the measure, of a mean for the
            means of all measures.
    """

    measure: str
    source: str | None
    model: Figure
    against: Figure
    difference: Figure
    p: float
    p_family: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models compared; ``differences`` has the mean of each measure first, then its sources."""

    model: str
    against: str
    permutations: int
    seed: int
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class AssessedModels:
    """One model's assessment, or two assessments and their comparison."""

    assessment: Assessment
    other: Assessment | None = None
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types: the first model's keys, and ``comparison`` and ``against`` for two models."""
        document = self.assessment.to_dict()
        if self.comparison is not None:
            document["comparison"] = self.comparison.to_dict()
        if self.other is not None:
            document["against"] = self.other.to_dict()
        return document


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """One measure on one source, or its mean: both models' figures, their difference, (P,) swapped differences."""

    source: str | None
    model: Figure
    against: Figure
    difference: Figure
    swapped: Floats

    @property
    def p(self) -> float:
        return permutation_p_value(self.difference.value, self.swapped)


def compare(
    embedded: EmbeddedTable, assessment: Assessment, other_embedded: EmbeddedTable, other: Assessment
) -> Comparison:
    """Run the paired tests of two models that were assessed with the same settings on the same table.

    Raises:
        ConfigError: The tables or the settings differ (``comparison_unpaired``).
    """
    settings = assessment.settings
    if settings != other.settings or embedded.table.samples != other_embedded.table.samples:
        different = "settings" if settings != other.settings else "tables"
        raise ConfigError(
            f"expected two models on one table with the same settings, got different {different}: "
            "assess both in the same way",
            code="comparison_unpaired",
        )
    evaluation = settings.evaluation
    resamples = Resamples.draw(embedded, evaluation)
    swaps = draw_swaps(resamples.groups, permutations=settings.permutations, seed=evaluation.seed + 1)
    differences: list[Difference] = []
    for method, by_source in assessment.scores.items():
        shared = [source for source in by_source if source in other.scores.get(method, {})]
        averaged = [source for source in assessment.methods[method].averaged if source in shared]
        for measure in MEASURES:
            found = [
                _pair(measure, source, by_source[source], other.scores[method][source], resamples, swaps)
                for source in shared
            ]
            differences += _differences(f"{method}, {measure}", [pair for pair in found if pair], averaged)
    k = evaluation.neighbours
    pairs = _retrieval_pairs(embedded, other_embedded, k, resamples, swaps)
    differences += _differences(f"image to image, precision at {k}", pairs, [pair.source for pair in pairs])
    return Comparison(
        model=assessment.report.model,
        against=other.report.model,
        permutations=settings.permutations,
        seed=evaluation.seed,
        differences=_adjust_means(differences),
    )


def _adjust_means(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return the differences with the p-values of the means adjusted for each other."""
    adjusted = iter(holm_adjust([difference.p for difference in differences if difference.source is None]))
    return tuple(
        replace(difference, p_family=next(adjusted)) if difference.source is None else difference
        for difference in differences
    )


def _pair(
    measure: str, source: str, a: MethodScores, b: MethodScores, resamples: Resamples, swaps: Flags
) -> _Pair | None:
    """Return one measure on one source; None where a model has no figure."""
    everyone = np.ones(len(a.rows), dtype=bool)
    model, against = (MEASURES[measure].figure(scores, everyone, resamples) for scores in (a, b))
    if model is None or against is None:
        return None
    weights, own_swaps = resamples.weights_of(a.rows), swaps[:, resamples.indices_of(a.rows)]
    if measure == "mean AUC":
        scored = np.flatnonzero(has_class_auc(a, resamples))
        swapped = swapped_aucs(a.probabilities, b.probabilities, a.truth, own_swaps, classes=scored)
    else:
        swapped = swapped_means(is_correct(a).astype(np.float64), is_correct(b).astype(np.float64), own_swaps)
    resampled = [MEASURES[measure].resampled(scores, weights) for scores in (a, b)]
    return _Pair(
        source=source,
        model=model,
        against=against,
        difference=difference_figure(model, against, correlation=resampled_correlation(*resampled)),
        swapped=swapped,
    )


def _retrieval_pairs(a: EmbeddedTable, b: EmbeddedTable, k: int, resamples: Resamples, swaps: Flags) -> list[_Pair]:
    """Return image-to-image precision among the scored images, by the source of the query."""
    samples = [a.table.samples[row] for row in resamples.rows]
    labels, _ = number_values([(sample.source, sample.label) if sample.label else None for sample in samples])
    is_query = has_relevant(labels, resamples.groups)
    values = []
    for embedded in (a, b):
        images = embedded.images[resamples.rows]
        neighbours = nearest(images, images, k, query_groups=resamples.groups, gallery_groups=resamples.groups)
        values.append(precision_at_k(same_label(neighbours, labels), k))
    pairs = []
    for source in dict.fromkeys(sample.source for sample in samples):
        queries = np.flatnonzero(is_query & np.array([sample.source == source for sample in samples]))
        precisions = [of_model[queries] for of_model in values]
        model, against = (resamples.share(of_model, resamples.rows[queries]) for of_model in precisions)
        if model is None or against is None:
            continue
        weights = resamples.weights[:, queries]
        correlation = resampled_correlation(*(resampled_means(of_model, weights) for of_model in precisions))
        pairs.append(
            _Pair(
                source=source,
                model=model,
                against=against,
                difference=difference_figure(model, against, correlation=correlation),
                swapped=swapped_means(precisions[0], precisions[1], swaps[:, queries]),
            )
        )
    return pairs


def _differences(measure: str, pairs: Sequence[_Pair], averaged: Sequence[str | None]) -> list[Difference]:
    """Return the difference of the mean and of each source."""
    adjusted = holm_adjust([pair.p for pair in pairs])
    differences = [_difference(measure, pair, p_family=p) for pair, p in zip(pairs, adjusted, strict=True)]
    in_mean = [pair for pair in pairs if pair.source in averaged]
    if len(in_mean) > 1:
        mean = _mean_pair(in_mean)
        differences.insert(0, _difference(measure, mean, p_family=mean.p))  # adjusted once all means are known
    return differences


def _mean_pair(pairs: Sequence[_Pair]) -> _Pair:
    share, count = [1 / len(pairs)] * len(pairs), len(pairs)
    return _Pair(
        source=None,
        model=combine_figures([pair.model for pair in pairs], share, count=count),
        against=combine_figures([pair.against for pair in pairs], share, count=count),
        difference=combine_figures([pair.difference for pair in pairs], share, count=count, limits=(-1.0, 1.0)),
        swapped=mean_ignoring_nan(np.stack([pair.swapped for pair in pairs], axis=1)),
    )


def _difference(measure: str, pair: _Pair, *, p_family: float) -> Difference:
    return Difference(
        measure=measure,
        source=pair.source,
        model=pair.model,
        against=pair.against,
        difference=pair.difference,
        p=pair.p,
        p_family=p_family,
    )
