"""The figures of one evaluation, each a function of its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.classification import label_aucs
from medimageinsight.evaluate.confusion import count_answers
from medimageinsight.evaluate.evaluation_data import number_values
from medimageinsight.evaluate.results import FindingFigures
from medimageinsight.evaluate.zero_shot import ensemble_prompts, prompt_membership, zero_shot_probabilities
from medimageinsight.metrics.average_precision import class_precision_figures
from medimageinsight.metrics.intervals import class_auc_figures, mean_figure, share_figure
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import (
    mean_ignoring_nan,
    precision_at_k,
    recall_at_k,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.evaluate.evaluation_data import EvaluationData
    from medimageinsight.metrics.bootstrap import Figure
    from medimageinsight.metrics.scores import Flags, Floats, Integers, Weights


def best_prompt_accuracy(data: EvaluationData, attributes: tuple[str, ...]) -> Figure | None:
    """Return how often the best of all prompts has the image's own attributes, such as ("modality", "anatomy").

    Images that lack one of the attributes in the table are left out.
    """

    def values_of(sample: Sample) -> tuple[str, ...] | None:
        values = tuple(getattr(sample, attribute) for attribute in attributes)
        return values if all(values) else None

    if not len(data.prompts):
        return None
    of_row, names = number_values([values_of(row) for row in data.prompt_set.rows])
    of_image, all_names = number_values([values_of(sample) for sample in data.samples], known=names)
    member = prompt_membership(data.prompt_of_row, of_row, shape=(len(data.prompts), len(all_names)))
    images = np.flatnonzero(of_image >= 0)
    best = nearest(data.images[images], data.prompts, 1)[:, 0]
    return data.mean_figure(member[best, of_image[images]], images)


@dataclass(frozen=True, slots=True)
class ScoredFindings:
    """Figures of a source's findings, and the mean AUC of each resample: (R,), NaN where a resample has none."""

    figures: FindingFigures
    resampled: Floats


def score_findings(data: EvaluationData, source: str) -> ScoredFindings | None:
    """Score zero-shot classification among the labels of a source that have a finding in some row of the table.

    Each label is the ensemble of its prompts. A label without scored images remains a class of the softmax; it has no
    AUC, so the mean is over the other labels. Labels without a prompt are left out. None without two scored labels.
    """
    rows = data.rows_of(source)
    columns = np.array([label for label in data.finding_labels if data.label_names[label][0] == source], dtype=int)
    images = rows[np.isin(data.labels[rows], columns)]
    if len(columns) < 2 or len(np.unique(data.labels[images])) < 2:
        return None
    classes = ensemble_prompts(data.prompts, data.prompt_labels[:, columns])
    scores = zero_shot_probabilities(data.images[images], classes, data.logit_scale)  # (n, columns)
    truth = np.searchsorted(columns, data.labels[images])

    settings = data.settings
    aucs, precisions = (
        measure(
            scores,
            truth[:, None] == np.arange(len(columns)),
            data.groups[images],
            confidence=settings.confidence,
            min_positives=settings.min_positives,
        )
        for measure in (class_auc_figures, class_precision_figures)
    )
    names = [data.label_names[label][1] for label in columns]
    scored = np.array([figure is not None for figure in aucs.classes])
    accuracy = data.mean_figure(scores.argmax(axis=1) == truth, images)
    if accuracy is None:
        return None
    figures = FindingFigures(
        mean_auc=aucs.mean,
        label_auc={name: figure for name, figure in zip(names, aucs.classes, strict=True) if figure is not None},
        left_out=tuple(name for name, defined in zip(names, aucs.defined, strict=True) if not defined),
        too_few=tuple(name for name, few in zip(names, np.array(aucs.defined) & ~scored, strict=True) if few),
        accuracy=accuracy,
        mean_average_precision=precisions.mean,
        label_average_precision={
            name: figure for name, figure in zip(names, precisions.classes, strict=True) if figure
        },
        confusion=count_answers(names, truth, scores.argmax(axis=1)),
    )
    return ScoredFindings(figures=figures, resampled=_resampled_means(scores, truth, data.weights[:, images], scored))


def _resampled_means(scores: Floats, truth: Integers, weights: Weights, scored: Flags) -> Floats:
    """Return the mean AUC of the scored classes in each resample: (R,), NaN without one."""
    return mean_ignoring_nan(label_aucs(scores, truth, weights)[:, scored])


def mean_over_sources(findings: Sequence[ScoredFindings]) -> Figure | None:
    """Return the mean over sources of their mean AUC; sources are independent."""
    return mean_figure([scored.figures.mean_auc for scored in findings])


def find_neighbours(data: EvaluationData) -> Integers:
    """Return the (N, k) nearest other scored images of every image, without those of its own patient."""
    k = data.settings.neighbours
    return nearest(data.images, data.images, k, query_groups=data.groups, gallery_groups=data.groups)


def image_to_image_precision(data: EvaluationData, neighbours: Integers, images: Integers) -> Figure | None:
    """Return the precision at k of some images as queries, by source and label, among all scored images.

    Queries without an image of another patient with their label are left out. A label with fewer than k other images
    cannot reach 1.
    """
    relevant = same_label(neighbours, data.labels)
    queries = images[has_relevant(data.labels, data.groups)[images]]
    return data.mean_figure(precision_at_k(relevant[queries], data.settings.neighbours), queries)


def image_to_text_recall(data: EvaluationData) -> Mapping[int, Figure]:
    """Return the recall at each k: how often the k best of all prompts contain a caption of the image's label."""
    images = np.flatnonzero(np.isin(data.labels, np.flatnonzero(data.prompt_labels.any(axis=0))))
    if not len(images):
        return {}
    best = nearest(data.images[images], data.prompts, max(data.settings.recall_at))
    relevant = data.prompt_labels[best, data.labels[images, None]]
    figures = {k: data.mean_figure(recall_at_k(relevant, k), images) for k in data.settings.recall_at}
    return {k: value for k, value in figures.items() if value is not None}


def text_to_image(data: EvaluationData) -> tuple[Mapping[int, Figure], Figure | None]:
    """Return recall at each k, and precision, of every caption as a query; images of its label are relevant.

    A label's value is the mean over its captions, and a figure the mean over the labels that have images: otherwise
    the labels with the most captions would dominate. Labels are the independent units.
    """
    k, ks = data.settings.neighbours, data.settings.recall_at
    labels = np.intersect1d(data.labels, np.flatnonzero(data.prompt_labels.any(axis=0)))
    if not len(labels):
        return {}, None
    best = nearest(data.prompts, data.images, max(k, *ks))
    relevant = data.prompt_labels[np.arange(len(best))[:, None], data.labels[best]]
    share = data.prompt_labels[:, labels] / data.prompt_labels[:, labels].sum(axis=0)  # (P, labels) columns sum to 1

    def mean_over_labels(of_caption: Floats) -> Figure | None:
        return share_figure(of_caption @ share, labels, confidence=data.settings.confidence)

    recall = {at: value for at in ks if (value := mean_over_labels(recall_at_k(relevant, at))) is not None}
    return recall, mean_over_labels(precision_at_k(relevant, k))
