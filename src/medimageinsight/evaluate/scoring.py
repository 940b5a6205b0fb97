"""The figures of a trial, each a function of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.evaluate.figures import FindingFigures
from medimageinsight.evaluate.trial import number
from medimageinsight.evaluate.zeroshot import ensemble, membership, zero_shot_probabilities
from medimageinsight.metrics.bootstrap import Figure, draw_multiplicities, figure, resampled_means
from medimageinsight.metrics.retrieval import has_relevant, nearest, same_label
from medimageinsight.metrics.scores import mean_of_known, one_vs_rest_auc, precision_at_k, recall_at_k, weighted_roc_auc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.datasets import Sample
    from medimageinsight.evaluate.trial import Trial
    from medimageinsight.metrics.scores import Floats, Integers


def best_prompt_accuracy(trial: Trial, attributes: tuple[str, ...]) -> Figure | None:
    """Whether the best of all prompts stands for the picture's own attributes, as ("modality", "anatomy").

    Pictures of which the table does not know every attribute are left out.
    """

    def read(sample: Sample) -> tuple[str, ...] | None:
        values = tuple(getattr(sample, attribute) for attribute in attributes)
        return values if all(values) else None

    of_row, names = number([read(sample) for sample in trial.table])
    of_picture, _ = number([read(sample) for sample in trial.samples], known=names)
    stands_for = membership(trial.prompt_of_row, of_row, shape=(len(trial.prompts), len(names)))
    pictures = np.flatnonzero(of_picture >= 0)
    best = nearest(trial.images[pictures], trial.prompts, 1)[:, 0]
    return trial.mean_figure(stands_for[best, of_picture[pictures]], pictures)


@dataclass(frozen=True, slots=True)
class ScoredFindings:
    """The findings of one source, and their mean AUC in each resample: (R,), NaN where one has none."""

    figures: FindingFigures
    resampled: Floats


def score_findings(trial: Trial, source: str) -> ScoredFindings | None:
    """Zero-shot classification among the labels of a source that have a finding somewhere in the table.

    Each label is the ensemble of its captions. A label that no scored picture has stays a choice in the softmax; it
    has no AUC, so the mean is over the others. None where no label has an AUC.
    """
    rows = trial.rows_of(source)
    columns = np.array([label for label in trial.finding_labels if trial.label_names[label][0] == source], dtype=int)
    pictures = rows[np.isin(trial.labels[rows], columns)]
    if len(columns) < 2 or len(np.unique(trial.labels[pictures])) < 2:
        return None
    classes = ensemble(trial.prompts, trial.prompt_labels[:, columns])
    scores = zero_shot_probabilities(trial.images[pictures], classes, trial.logit_scale)  # (n, columns)
    truth = np.searchsorted(columns, trial.labels[pictures])

    weights, confidence = trial.weights[:, pictures], trial.settings.confidence
    each = one_vs_rest_auc(scores, truth)
    resampled = np.stack(
        [weighted_roc_auc(scores[:, column], truth == column, weights) for column in range(len(columns))], axis=1
    )
    label_auc, left_out = {}, []
    for column, label in enumerate(columns):
        name = trial.label_names[label][1]
        positives = int((truth == column).sum())
        auc = figure(each[column], resampled[:, column], count=positives, confidence=confidence)
        if auc is None:
            left_out.append(name)
        else:
            label_auc[name] = auc
    resampled_mean = mean_of_known(resampled)
    mean = figure(mean_of_known(each[None])[0], resampled_mean, count=len(pictures), confidence=confidence)
    accuracy = trial.mean_figure(scores.argmax(axis=1) == truth, pictures)
    if mean is None or accuracy is None:
        return None
    figures = FindingFigures(mean_auc=mean, label_auc=label_auc, left_out=tuple(left_out), accuracy=accuracy)
    return ScoredFindings(figures=figures, resampled=resampled_mean)


def mean_over_sources(trial: Trial, findings: Sequence[ScoredFindings]) -> Figure | None:
    """The mean of the sources' mean AUC, with the sources resampled together."""
    if not findings:
        return None
    value = float(np.mean([scored.figures.mean_auc.value for scored in findings]))
    resampled = mean_of_known(np.stack([scored.resampled for scored in findings], axis=1))
    return figure(value, resampled, count=len(findings), confidence=trial.settings.confidence)


def find_neighbours(trial: Trial) -> Integers:
    """(N, k) the nearest other scored pictures of every picture, those of its own patient excluded."""
    k = trial.settings.neighbours
    return nearest(trial.images, trial.images, k, query_groups=trial.groups, gallery_groups=trial.groups)


def image_to_image_precision(trial: Trial, neighbours: Integers, pictures: Integers) -> Figure | None:
    """Precision at k of some pictures as queries, by source and label, among all scored pictures.

    Queries without another patient's picture of their label are left out. A label with fewer than k others cannot
    reach 1.
    """
    relevant = same_label(neighbours, trial.labels)
    queries = pictures[has_relevant(trial.labels, trial.groups)[pictures]]
    return trial.mean_figure(precision_at_k(relevant[queries], trial.settings.neighbours), queries)


def image_to_text_recall(trial: Trial) -> Mapping[int, Figure]:
    """Recall at each k: whether the k best of all prompts hold a caption of the picture's label."""
    pictures = np.flatnonzero(trial.labels >= 0)
    found = nearest(trial.images[pictures], trial.prompts, max(trial.settings.recall_at))
    relevant = trial.prompt_labels[found, trial.labels[pictures, None]]
    figures = {k: trial.mean_figure(recall_at_k(relevant, k), pictures) for k in trial.settings.recall_at}
    return {k: value for k, value in figures.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CaptionSearch:
    """Text to image: recall at each k, and precision at the settings' ``neighbours``."""

    recall: Mapping[int, Figure]
    precision: Figure | None


def search_by_caption(trial: Trial) -> CaptionSearch:
    """Every caption as a query among the scored pictures; those of its label are relevant.

    A label's value is the mean over its captions, and a figure the mean over the labels that have pictures: else the
    labels with the most spellings would be all that counts. Resampled are the labels.
    """
    k, ks = trial.settings.neighbours, trial.settings.recall_at
    labels = np.unique(trial.labels[trial.labels >= 0])
    if not len(labels):
        return CaptionSearch(recall={}, precision=None)
    found = nearest(trial.prompts, trial.images, max(k, *ks))
    relevant = trial.prompt_labels[np.arange(len(found))[:, None], trial.labels[found]]
    share = trial.prompt_labels[:, labels] / trial.prompt_labels[:, labels].sum(axis=0)  # (P, labels) columns sum to 1
    weights = draw_multiplicities(
        labels, np.zeros_like(labels), resamples=trial.settings.resamples, seed=trial.settings.seed
    )

    def over_labels(of_caption: Floats) -> Figure | None:
        of_label = of_caption @ share
        resampled = resampled_means(of_label, weights)
        return figure(of_label.mean(), resampled, count=len(labels), confidence=trial.settings.confidence)

    recall = {at: value for at in ks if (value := over_labels(recall_at_k(relevant, at))) is not None}
    return CaptionSearch(recall=recall, precision=over_labels(precision_at_k(relevant, k)))
