"""Three methods that score labels which do not exclude each other: zero-shot, kNN, linear probe, each one-vs-rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.adapters import AdapterSettings, FittingData, fit_linear
from medimageinsight.evaluate.label_scores import LabelScores
from medimageinsight.evaluate.methods import INVERSE_PENALTIES, KNN, NEIGHBOUR_COUNTS, PROBE, ZERO_SHOT, Choice
from medimageinsight.metrics.heads import activate, head_logits
from medimageinsight.metrics.retrieval import nearest
from medimageinsight.tasks.neighbours import NeighbourSettings, vote_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.evaluate.label_table import LabelTable
    from medimageinsight.metrics.scores import Flags, Floats, Integers

_MIN_PROBABILITY = 1e-6  # of a log loss, as in `metrics.calibration.log_loss`


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """Embeddings and labels of a whole table, with the rows of three parts.

    Attributes:
        embeddings: (N, D) float32, L2-normalised.
        train: (a,) int, images to train on, none of a patient who is in another part.
        val: (b,) int, images to choose on, none of a patient who is scored.
        test: (c,) int, images to score.
        shared: Number of images left out of ``train`` and ``val`` because of their patient.
    """

    embeddings: NDArray[np.float32]
    labels: LabelTable
    train: Integers
    val: Integers
    test: Integers
    shared: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilabelScores:
    """One method's scores of each label that it can predict, and its choices."""

    method: str
    labels: tuple[LabelScores, ...]
    choices: tuple[Choice, ...] = ()


def score_zero_shot_labels(data: LabelledImages, scores: Floats) -> MultilabelScores:
    """Return the zero-shot scores (N, K) of the images of a table; nothing is trained or chosen."""
    columns = np.arange(len(data.labels.names))
    return MultilabelScores(method=ZERO_SHOT, labels=_label_scores(data, columns, scores[data.test], scores[data.val]))


def score_neighbours(data: LabelledImages, val_split: str) -> MultilabelScores | None:
    """Score each label by the share of the k nearest training images that have it, among those where it is known.

    Nearer images count more, as in `tasks.classify_by_neighbours`. k is the same for all labels: that of the lowest
    mean log loss on ``val``. None without images to train or to choose on.
    """
    columns = trainable_labels(data)
    if not len(columns):
        return None
    largest = min(NEIGHBOUR_COUNTS[-1], len(data.train))
    gallery = data.embeddings[data.train]
    known, positives = data.labels.known[data.train][:, columns], data.labels.positives[data.train][:, columns]
    prior = (positives & known).sum(axis=0) / known.sum(axis=0)

    def vote(rows: Integers, neighbours: Integers, k: int) -> Floats:
        scores = np.empty((len(rows), len(columns)))
        for index, row in enumerate(rows):
            chosen = neighbours[index, :k]
            cosines = gallery[chosen].astype(np.float64) @ data.embeddings[row]
            shares = vote_shares(np.clip(cosines, -1.0, 1.0), NeighbourSettings().temperature)
            total = shares @ known[chosen]
            found = shares @ (known[chosen] & positives[chosen])
            scores[index] = np.where(total > 0, found / np.maximum(total, 1e-12), prior)
        return scores

    val_neighbours = nearest(data.embeddings[data.val], gallery, largest)
    candidates = {k: vote(data.val, val_neighbours, k) for k in NEIGHBOUR_COUNTS if k <= largest}
    best = min(candidates, key=lambda k: _mean_log_loss(candidates[k], data, columns))
    choice = Choice(
        what="kNN: k",
        value=str(best),
        how=f"lowest mean log loss over labels of {', '.join(map(str, candidates))}",
        split=val_split,
    )
    test_scores = vote(data.test, nearest(data.embeddings[data.test], gallery, largest), best)
    return MultilabelScores(
        method=KNN, labels=_label_scores(data, columns, test_scores, candidates[best]), choices=(choice,)
    )


def score_probe(data: LabelledImages, val_split: str) -> MultilabelScores | None:
    """Score each label by its own logistic regression on the training images where it is known.

    The L2 penalty of each label has the lowest log loss on ``val``. None without images to train or to choose on.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    columns = trainable_labels(data)
    if not len(columns):
        return None
    settings = AdapterSettings(inverse_penalties=INVERSE_PENALTIES)
    scores = {part: np.empty((len(rows), len(columns))) for part, rows in (("test", data.test), ("val", data.val))}
    for index, column in enumerate(columns):
        parts = []
        for rows in (data.train, data.val):
            used = rows[data.labels.known[rows, column]]
            truth = data.labels.positives[used, column].astype(np.float64)[:, None]
            parts.append(FittingData.of(data.embeddings[used], truth, "sigmoid", balanced=False))
        layers = fit_linear(parts[0], parts[1], "sigmoid", settings)
        for part, rows in (("test", data.test), ("val", data.val)):
            scores[part][:, index] = activate(head_logits(layers, data.embeddings[rows]), "sigmoid")[:, 0]
    choice = Choice(
        what="linear probe: inverse L2 penalty of each label",
        value="by label",
        how=f"lowest log loss of {', '.join(f'{value:g}' for value in INVERSE_PENALTIES)}",
        split=val_split,
    )
    return MultilabelScores(
        method=PROBE, labels=_label_scores(data, columns, scores["test"], scores["val"]), choices=(choice,)
    )


def trainable_labels(data: LabelledImages) -> Integers:
    """Return the labels with positives and negatives to train on, and images to choose on: their indices."""
    known, positives = data.labels.known, data.labels.positives
    has_both = positives[data.train].any(axis=0) & (known & ~positives)[data.train].any(axis=0)
    return np.flatnonzero(has_both & known[data.val].any(axis=0))


def _label_scores(
    data: LabelledImages, columns: Integers, test_scores: Floats, val_scores: Floats
) -> tuple[LabelScores, ...]:
    """Return the scores of each label on the images where it is known."""
    known, positives = data.labels.known, data.labels.positives
    found = []
    for index, column in enumerate(columns):
        test, val = known[data.test, column], known[data.val, column]
        found.append(
            LabelScores(
                label=data.labels.names[column],
                rows=data.test[test],
                positives=positives[data.test[test], column],
                scores=test_scores[test, index].astype(np.float64),
                val_positives=positives[data.val[val], column],
                val_scores=val_scores[val, index].astype(np.float64),
            )
        )
    return tuple(found)


def _mean_log_loss(scores: Floats, data: LabelledImages, columns: Integers) -> float:
    """Return the mean over labels of the log loss on the validation images where they are known."""
    known: Flags = data.labels.known[data.val][:, columns]
    truth = data.labels.positives[data.val][:, columns]
    likely = np.clip(np.where(truth, scores, 1 - scores), _MIN_PROBABILITY, 1.0)
    losses: Floats = (-np.log(likely) * known).sum(axis=0) / known.sum(axis=0)
    return float(np.mean(losses))
