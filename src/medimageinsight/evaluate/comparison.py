"""Two models on the same pictures of the same table: what is different, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ConfigError
from medimageinsight.evaluate.classification import accuracies, is_right, mean_aucs
from medimageinsight.evaluate.resamples import Resamples
from medimageinsight.evaluate.trial import number
from medimageinsight.metrics.bootstrap import resampled_means
from medimageinsight.metrics.permutation import draw_swaps, holm, mean_over, p_value, swapped_aucs, swapped_means
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import mean_of_known, precision_at_k

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.evaluate.assessment import Assessment
    from medimageinsight.evaluate.embedded import EmbeddedTable
    from medimageinsight.evaluate.methods import Scores
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One measure of both models on one source, or the mean over sources.

    Attributes:
        measure: As ``zero-shot, mean AUC``; higher is better in all of them.
        source: Its name; None for the mean.
        model: The first model's figure.
        against: The second's.
        difference: The first's less the second's, from the same resamples of both.
        p: Of the permutation test.
        p_family: By Holm's rule for all sources of the measure; None for the mean, which is one test.
    """

    measure: str
    source: str | None
    model: Figure
    against: Figure
    difference: Figure
    p: float
    p_family: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The first model beside the second; ``differences`` has each measure's mean first, then its sources."""

    model: str
    against: str
    permutations: int
    seed: int
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """One measure on one source: both models' (1 + R,) values, and the (P,) differences of swapped ones."""

    source: str
    count: int
    model: Floats
    against: Floats
    swapped: Floats


def compare(
    embedded: EmbeddedTable, assessment: Assessment, other_embedded: EmbeddedTable, other: Assessment
) -> Comparison:
    """The paired tests of two models that were assessed with the same settings on the same table.

    Raises:
        ConfigError: The tables or the settings are not the same (``comparison_unpaired``).
    """
    settings = assessment.settings
    if settings != other.settings or embedded.table.samples != other_embedded.table.samples:
        raise ConfigError(
            "expected two models on one table with the same settings, got others: assess both in the same way",
            code="comparison_unpaired",
        )
    chosen = settings.evaluation
    resamples = Resamples.draw(
        embedded, split=chosen.split, resamples=chosen.resamples, seed=chosen.seed, confidence=chosen.confidence
    )
    swaps = draw_swaps(resamples.groups, permutations=settings.permutations, seed=chosen.seed + 1)
    differences: list[Difference] = []
    for method, of_source in assessment.scores.items():
        shared = [source for source in of_source if source in other.scores.get(method, {})]
        averaged = [source for source in assessment.methods[method].averaged if source in shared]
        for measure, pair in (("mean AUC", _auc_pair), ("accuracy", _accuracy_pair)):
            pairs = [
                pair(source, of_source[source], other.scores[method][source], resamples, swaps) for source in shared
            ]
            differences += _differences(f"{method}, {measure}", pairs, averaged, resamples)
    k = chosen.neighbours
    pairs = _retrieval_pairs(embedded, other_embedded, k, resamples, swaps)
    differences += _differences(f"image to image, precision at {k}", pairs, [one.source for one in pairs], resamples)
    return Comparison(
        model=assessment.report.model,
        against=other.report.model,
        permutations=settings.permutations,
        seed=chosen.seed,
        differences=tuple(differences),
    )


def _auc_pair(source: str, a: Scores, b: Scores, resamples: Resamples, swaps: Flags) -> _Pair:
    own = swaps[:, np.searchsorted(resamples.rows, a.rows)]
    swapped = swapped_aucs(a.probabilities, b.probabilities, a.truth, own)
    return _pair(source, a, b, mean_aucs, resamples, swapped)


def _accuracy_pair(source: str, a: Scores, b: Scores, resamples: Resamples, swaps: Flags) -> _Pair:
    own = swaps[:, np.searchsorted(resamples.rows, a.rows)]
    swapped = swapped_means(is_right(a).astype(np.float64), is_right(b).astype(np.float64), own)
    return _pair(source, a, b, accuracies, resamples, swapped)


def _pair(
    source: str,
    a: Scores,
    b: Scores,
    measure: Callable[[Scores, Weights], Floats],
    resamples: Resamples,
    swapped: Floats,
) -> _Pair:
    weights = resamples.of(a.rows)
    return _Pair(
        source=source, count=len(a.rows), model=measure(a, weights), against=measure(b, weights), swapped=swapped
    )


def _retrieval_pairs(a: EmbeddedTable, b: EmbeddedTable, k: int, resamples: Resamples, swaps: Flags) -> list[_Pair]:
    """Image to image among the scored pictures, by the source of the query."""
    samples = [a.table.samples[row] for row in resamples.rows]
    labels, _ = number([(sample.source, sample.label) if sample.label else None for sample in samples])
    queries = has_relevant(labels, resamples.groups)
    values = [_precisions(one, labels, k, resamples) for one in (a, b)]
    pairs = []
    for source in dict.fromkeys(sample.source for sample in samples):
        own = np.flatnonzero(queries & np.array([sample.source == source for sample in samples]))
        if len(own):
            weights = resamples.weights[:, own]
            model, against = (resampled_means(one[own], weights) for one in values)
            swapped = swapped_means(values[0][own], values[1][own], swaps[:, own])
            pairs.append(_Pair(source=source, count=len(own), model=model, against=against, swapped=swapped))
    return pairs


def _precisions(embedded: EmbeddedTable, labels: Integers, k: int, resamples: Resamples) -> Floats:
    images = embedded.images[resamples.rows]
    found = nearest(images, images, k, query_groups=resamples.groups, gallery_groups=resamples.groups)
    return precision_at_k(same_label(found, labels), k)


def _differences(
    measure: str, pairs: Sequence[_Pair], averaged: Sequence[str], resamples: Resamples
) -> list[Difference]:
    """The mean's and each source's, of those that have one."""
    known = [one for one in pairs if not np.isnan(one.model[0] - one.against[0])]
    family = holm([_p(one) for one in known])
    each = [_difference(measure, one, resamples, p_family=p) for one, p in zip(known, family, strict=True)]
    counted = [one for one in known if one.source in averaged]
    if len(counted) > 1:
        mean = _Pair(
            source="",
            count=len(counted),
            model=mean_of_known(np.stack([one.model for one in counted], axis=1)),
            against=mean_of_known(np.stack([one.against for one in counted], axis=1)),
            swapped=mean_over([one.swapped for one in counted]),
        )
        each.insert(0, _difference(measure, mean, resamples, p_family=None, is_mean=True))
    return [one for one in each if one is not None]


def _difference(
    measure: str, pair: _Pair, resamples: Resamples, *, p_family: float | None, is_mean: bool = False
) -> Difference | None:
    model, against, difference = (
        resamples.figure(values, pair.count) for values in (pair.model, pair.against, pair.model - pair.against)
    )
    if model is None or against is None or difference is None:
        return None
    return Difference(
        measure=measure,
        source=None if is_mean else pair.source,
        model=model,
        against=against,
        difference=difference,
        p=_p(pair),
        p_family=p_family,
    )


def _p(pair: _Pair) -> float:
    return p_value(float(pair.model[0] - pair.against[0]), pair.swapped)
