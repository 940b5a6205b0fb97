"""Three methods to classify a source's images with the same embeddings: zero-shot, kNN, linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.adapters import AdapterSettings, FittingData, fit_linear
from medimageinsight.evaluate.zero_shot import ensemble_prompts, zero_shot_probabilities
from medimageinsight.metrics.calibration import log_loss
from medimageinsight.metrics.heads import activate, head_logits
from medimageinsight.tasks import NeighbourSettings, classify_by_neighbours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.evaluate.classes import SourceClasses, SplitImages
    from medimageinsight.evaluate.embedding import EmbeddedTable
    from medimageinsight.metrics.scores import Floats, Integers


ZERO_SHOT, KNN, PROBE = "zero-shot", "kNN", "linear probe"
NEIGHBOUR_COUNTS = (1, 5, 10, 20, 50, 100, 200)
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice: ``Choice(what="kNN, chest: k", value="10", how="lowest log loss of 1, 5, 10", split="val")``.

    Attributes:
        what: What was chosen.
        value: The chosen value.
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
        method: The name of the method.
        names: The K classes that the method can predict; classes without an image to train on are not among them.
        rows: (n,) int, the scored images' rows in the table, only of these classes.
        truth: (n,) int, their classes, as indices into ``names``.
        probabilities: (n, K) float64.
        val_truth: (m,) int, of the images to choose on.
        val_probabilities: (m, K) float64.
        unseen: Classes of scored images that the method cannot predict; these images are left out.
        choices: The choices of the method.
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


def score_zero_shot(embedded: EmbeddedTable, classes: SourceClasses) -> MethodScores:
    """Classify zero-shot: each class is the ensemble of its captions; nothing is trained or chosen."""
    prompt_index = {prompt: index for index, prompt in enumerate(embedded.prompts)}
    class_index = {name: index for index, name in enumerate(classes.names)}
    member = np.zeros((len(embedded.prompts), len(classes.names)), dtype=bool)
    for sample in embedded.table:
        if sample.source == classes.source and sample.label in class_index:
            member[prompt_index[sample.caption], class_index[sample.label]] = True
    texts = ensemble_prompts(embedded.prompt_embeddings, member)

    def score(images: SplitImages) -> Floats:
        return zero_shot_probabilities(embedded.images[images.rows], texts, embedded.logit_scale)

    return _scores(ZERO_SHOT, classes, np.arange(len(classes.names)), score(classes.test), score(classes.val), ())


def score_knn(embedded: EmbeddedTable, classes: SourceClasses, *, val_split: str) -> MethodScores | None:
    """Classify by the vote of the nearest images of ``train``; k has the lowest log loss on ``val``.

    None if ``train`` has fewer than two classes, or ``val`` has no image of them.
    """
    known = np.unique(classes.train.truth)
    val, val_truth = _known_images(classes.val, known)
    if len(known) < 2 or not len(val):
        return None
    names = [f"{number:06d}" for number in classes.train.truth]  # of equal length, as they are sorted as text

    def vote(images: SplitImages, k: int) -> Floats:
        results = classify_by_neighbours(
            embedded.images[images.rows], embedded.images[classes.train.rows], names, settings=NeighbourSettings(k=k)
        )
        return np.array([list(result.probabilities.values()) for result in results]).reshape(len(images), len(known))

    counts = [k for k in NEIGHBOUR_COUNTS if k <= len(classes.train)]
    best = _lowest_loss({k: vote(val, k) for k in counts}, val_truth)
    choice = Choice(
        what=f"kNN, {classes.display_name}: k",
        value=f"{best:g}",
        how=f"lowest log loss of {', '.join(map(str, counts))}",
        split=val_split,
    )
    return _scores(KNN, classes, known, vote(classes.test, int(best)), vote(classes.val, int(best)), (choice,))


def score_linear_probe(embedded: EmbeddedTable, classes: SourceClasses, *, val_split: str) -> MethodScores | None:
    """Classify by multinomial logistic regression on ``train``; its penalty has the lowest log loss on ``val``.

    None if ``train`` has fewer than two classes, or ``val`` has no image of them.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    known = np.unique(classes.train.truth)
    val, val_truth = _known_images(classes.val, known)
    if len(known) < 2 or not len(val):
        return None
    train_truth = np.searchsorted(known, classes.train.truth)
    train = _fitting_data(embedded.images[classes.train.rows], train_truth, len(known))
    held_out = _fitting_data(embedded.images[val.rows], val_truth, len(known))
    heads = {
        penalty: fit_linear(train, held_out, "softmax", AdapterSettings(inverse_penalties=(penalty,)))
        for penalty in INVERSE_PENALTIES
    }

    def score(penalty: float, images: SplitImages) -> Floats:
        return activate(head_logits(heads[penalty], embedded.images[images.rows]), "softmax")

    best = _lowest_loss({penalty: score(penalty, val) for penalty in heads}, val_truth)
    choice = Choice(
        what=f"linear probe, {classes.display_name}: inverse L2 penalty",
        value=f"{best:g}",
        how=f"lowest log loss of {', '.join(f'{penalty:g}' for penalty in INVERSE_PENALTIES)}",
        split=val_split,
    )
    return _scores(PROBE, classes, known, score(best, classes.test), score(best, classes.val), (choice,))


def _lowest_loss(candidates: Mapping[int, Floats] | Mapping[float, Floats], truth: Integers) -> float:
    """Return the candidate with the lowest mean log loss, the first of equals."""
    return min(candidates, key=lambda candidate: float(log_loss(candidates[candidate], truth).mean()))


def _known_images(images: SplitImages, known: Integers) -> tuple[SplitImages, Integers]:
    """Return the images of known classes, and their classes as indices into these."""
    selected = images.take(np.flatnonzero(np.isin(images.truth, known)))
    return selected, np.searchsorted(known, selected.truth)


def _fitting_data(vectors: NDArray[np.float32], truth: Integers, count: int) -> FittingData:
    return FittingData.of(vectors, np.eye(count)[truth], "softmax", balanced=False)


def _scores(
    method: str,
    classes: SourceClasses,
    known: Integers,
    test: Floats,
    val: Floats,
    choices: Sequence[Choice],
) -> MethodScores:
    """Return the scores of the images of known classes, from the probabilities of all images."""
    scored, val_scored = (np.flatnonzero(np.isin(images.truth, known)) for images in (classes.test, classes.val))
    unseen = np.setdiff1d(classes.test.truth, known)
    return MethodScores(
        method=method,
        names=tuple(classes.names[index] for index in known),
        rows=classes.test.rows[scored],
        truth=np.searchsorted(known, classes.test.truth[scored]),
        probabilities=test[scored],
        val_truth=np.searchsorted(known, classes.val.truth[val_scored]),
        val_probabilities=val[val_scored],
        unseen=tuple(classes.names[index] for index in unseen),
        choices=tuple(choices),
    )
