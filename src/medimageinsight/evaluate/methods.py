"""Three methods to classify a source's images with the same embeddings: zero-shot, kNN, linear probe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.adapters import AdapterSettings, FittingData, fit_linear
from medimageinsight.evaluate.label_scores import LabelScores
from medimageinsight.evaluate.zero_shot import ensemble_prompts, zero_shot_probabilities
from medimageinsight.metrics.calibration import log_loss
from medimageinsight.metrics.heads import activate, head_logits
from medimageinsight.tasks import NeighbourSettings, classify_by_neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.evaluate.classes import SourceClasses, SplitImages
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.metrics.scores import Floats, Integers

    Classifier = Callable[[SplitImages], Floats]

ZERO_SHOT, KNN, PROBE = "zero-shot", "kNN", "linear probe"
NEIGHBOUR_COUNTS = (1, 5, 10, 20, 50, 100, 200)
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice: ``Choice(what="kNN, chest: k", value="10", how="lowest log loss of 1, 5, 10", split="val")``.

    Attributes:
        how: The rule and its candidates.
        split: The split that the rule used; '' if the value was fixed in advance.
    """

    what: str
    value: str
    how: str
    split: str = ""

    @property
    def made_on(self) -> str:
        """The split in words, for a report."""
        return f"the {self.split} split" if self.split else "fixed in advance"


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodScores:
    """Probabilities by one method for one source's images.

    Attributes:
        names: The K classes that the method can predict; classes without an image to train on are not among them.
        rows: (n,) int, the scored images' rows in the table, only of classes that every method can predict.
        truth: (n,) int, their classes, as indices into ``names``.
        probabilities: (n, K) float64.
        val_truth: (m,) int, of the images to choose on.
        val_probabilities: (m, K) float64.
        unseen: Classes of scored images that the method cannot predict; these images are left out.
    """

    method: str
    names: tuple[str, ...]
    rows: Integers
    truth: Integers
    probabilities: Floats
    val_truth: Integers
    val_probabilities: Floats
    unseen: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def labels(self) -> tuple[LabelScores, ...]:
        """The scores of each class against the other classes."""
        return tuple(
            LabelScores(
                label=name,
                rows=self.rows,
                positives=self.truth == index,
                scores=self.probabilities[:, index],
                val_positives=self.val_truth == index,
                val_scores=self.val_probabilities[:, index],
            )
            for index, name in enumerate(self.names)
        )

    def of_rows(self, rows: Integers) -> MethodScores:
        """Return the scores of some of the images, by their rows in the table."""
        wanted = np.isin(self.rows, rows)
        return replace(self, rows=self.rows[wanted], truth=self.truth[wanted], probabilities=self.probabilities[wanted])


def score_zero_shot(embedded: EmbeddedTable, classes: SourceClasses) -> MethodScores | None:
    """Classify zero-shot: each class is the ensemble of its prompts; nothing is trained or chosen.

    None if fewer than two classes have a prompt.
    """
    prompts = embedded.prompt_set
    prompt_index = {prompt: index for index, prompt in enumerate(prompts.texts)}
    class_index = {name: index for index, name in enumerate(classes.names)}
    member = np.zeros((len(prompt_index), len(classes.names)), dtype=bool)
    for row in prompts.rows:
        if row.source == classes.source and row.label in class_index:
            member[prompt_index[row.caption], class_index[row.label]] = True
    known = np.flatnonzero(member.any(axis=0))
    if len(known) < 2:
        return None
    texts = ensemble_prompts(embedded.prompt_embeddings, member[:, known])
    return _scores(
        ZERO_SHOT,
        classes,
        known,
        lambda images: zero_shot_probabilities(embedded.images[images.rows], texts, embedded.logit_scale),
    )


def score_trained(method: str, embedded: EmbeddedTable, classes: SourceClasses, val_split: str) -> MethodScores | None:
    """Classify by a method that is trained on ``train``; its setting has the lowest log loss on ``val``.

    `KNN` is the vote of the nearest images, `PROBE` multinomial logistic regression. None if ``train`` has fewer than
    two classes, or ``val`` has no image of them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    known = np.unique(classes.train.truth)
    val = classes.val.take(np.flatnonzero(np.isin(classes.val.truth, known)))
    if len(known) < 2 or not len(val):
        return None
    val_truth = np.searchsorted(known, val.truth)
    if method == KNN:
        setting, candidates = "k", _knn_candidates(embedded, classes.train)
    else:
        setting, candidates = "inverse L2 penalty", _probe_candidates(embedded, classes.train, val)
    best = min(candidates, key=lambda value: float(log_loss(candidates[value](val), val_truth).mean()))
    choice = Choice(
        what=f"{method}, {classes.display_name}: {setting}",
        value=f"{best:g}",
        how=f"lowest log loss of {', '.join(f'{value:g}' for value in candidates)}",
        split=val_split,
    )
    return _scores(method, classes, known, candidates[best], choice)


def _knn_candidates(embedded: EmbeddedTable, train: SplitImages) -> Mapping[float, Classifier]:
    """Return, by k, a function from images (n) to probabilities (n, K)."""
    names = [f"{number:06d}" for number in train.truth]  # of equal length, as they are sorted as text

    def vote(images: SplitImages, *, k: int) -> Floats:
        results = classify_by_neighbours(
            embedded.images[images.rows], embedded.images[train.rows], names, settings=NeighbourSettings(k=k)
        )
        probabilities = np.array([list(result.probabilities.values()) for result in results])
        return probabilities.reshape(len(images), len(set(names)))

    return {k: partial(vote, k=k) for k in NEIGHBOUR_COUNTS if k <= len(train)}


def _probe_candidates(embedded: EmbeddedTable, train: SplitImages, val: SplitImages) -> Mapping[float, Classifier]:
    """Return, by inverse penalty, a function from images (n) to probabilities (n, K)."""
    known = np.unique(train.truth)
    train_data, val_data = (
        FittingData.of(
            embedded.images[images.rows],
            np.eye(len(known))[np.searchsorted(known, images.truth)],
            "softmax",
            balanced=False,
        )
        for images in (train, val)
    )

    def fit(penalty: float) -> Classifier:
        layers = fit_linear(train_data, val_data, "softmax", AdapterSettings(inverse_penalties=(penalty,)))
        return lambda images: activate(head_logits(layers, embedded.images[images.rows]), "softmax")

    return {penalty: fit(penalty) for penalty in INVERSE_PENALTIES}


def _scores(
    method: str, classes: SourceClasses, known: Integers, classify: Classifier, *choices: Choice
) -> MethodScores:
    """Return the scores of the images of known classes; all images are classified."""
    scored, val_scored = (np.flatnonzero(np.isin(images.truth, known)) for images in (classes.test, classes.val))
    unseen = np.setdiff1d(classes.test.truth, known)
    return MethodScores(
        method=method,
        names=tuple(classes.names[index] for index in known),
        rows=classes.test.rows[scored],
        truth=np.searchsorted(known, classes.test.truth[scored]),
        probabilities=classify(classes.test)[scored],
        val_truth=np.searchsorted(known, classes.val.truth[val_scored]),
        val_probabilities=classify(classes.val)[val_scored],
        unseen=tuple(classes.names[index] for index in unseen),
        choices=choices,
    )
