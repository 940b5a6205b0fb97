"""Three ways to tell a source's classes apart with the same vectors: prompts, neighbours, a linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.adapters.fitting import AdapterSettings, Part, fit_linear
from medimageinsight.evaluate.zeroshot import ensemble, zero_shot_probabilities
from medimageinsight.metrics.heads import activate, logits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.evaluate.classes import Side, SourceClasses
    from medimageinsight.evaluate.embedded import EmbeddedTable
    from medimageinsight.metrics.scores import Floats, Integers


ZERO_SHOT, KNN, PROBE = "zero-shot", "kNN", "linear probe"
NEIGHBOUR_COUNTS = (1, 5, 10, 20, 50, 100, 200)
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_LEAST = 1e-6  # of a probability in a log loss: a vote of few neighbours often is 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What one method says of one source's pictures.

    Attributes:
        method: Its name.
        names: The K classes it can name; those without a picture to learn from are not among them.
        rows: (n,) int, the scored pictures' places in the table, of these classes alone.
        truth: (n,) int, their classes, as places in ``names``.
        probabilities: (n, K) float64.
        val_truth: (m,) int, of the pictures to choose on.
        val_probabilities: (m, K) float64.
        unseen: Classes of scored pictures that it cannot name; these pictures are left out.
        choices: What was chosen.
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


def zero_shot(embedded: EmbeddedTable, classes: SourceClasses) -> Scores:
    """Each class is the ensemble of its captions; nothing is learnt and nothing chosen."""
    place = {prompt: index for index, prompt in enumerate(embedded.prompts)}
    member = np.zeros((len(embedded.prompts), len(classes.names)), dtype=bool)
    number_of = {name: index for index, name in enumerate(classes.names)}
    for sample in embedded.table:
        if sample.source == classes.source and sample.label in number_of:
            member[place[sample.caption], number_of[sample.label]] = True
    texts = ensemble(embedded.prompt_embeddings, member)

    def score(side: Side) -> Floats:
        return zero_shot_probabilities(embedded.images[side.rows], texts, embedded.logit_scale)

    return _scores(ZERO_SHOT, classes, np.arange(len(classes.names)), score(classes.test), score(classes.val), ())


def by_neighbours(embedded: EmbeddedTable, classes: SourceClasses, *, val_split: str) -> Scores | None:
    """The vote of the nearest pictures of ``train``; k by the least log loss on ``val``.

    None where ``train`` has fewer than two classes, or ``val`` no picture of them.
    """
    from medimageinsight.tasks.neighbours import NeighbourSettings, classify_by_neighbours  # it imports this room

    known = _known(classes)
    val, truth = _known_side(classes.val, known)
    if len(known) < 2 or not len(val):
        return None
    names = [f"{one:06d}" for one in classes.train.truth]  # as many digits to each: they are sorted as texts

    def vote(side: Side, k: int) -> Floats:
        answers = classify_by_neighbours(
            embedded.images[side.rows], embedded.images[classes.train.rows], names, settings=NeighbourSettings(k=k)
        )
        return np.array([list(answer.probabilities.values()) for answer in answers]).reshape(len(side), len(known))

    counts = [k for k in NEIGHBOUR_COUNTS if k <= len(classes.train)]
    best = _least_loss({k: vote(val, k) for k in counts}, truth)
    choice = Choice(
        what=f"kNN, {classes.source or '(no name)'}: k",
        value=f"{best:g}",
        how=f"least log loss of {', '.join(map(str, counts))}",
        split=val_split,
    )
    return _scores(KNN, classes, known, vote(classes.test, int(best)), vote(classes.val, int(best)), (choice,))


def by_linear_probe(embedded: EmbeddedTable, classes: SourceClasses, *, val_split: str) -> Scores | None:
    """Multinomial logistic regression on ``train``; the penalty by the least log loss on ``val``.

    None where ``train`` has fewer than two classes, or ``val`` no picture of them.

    Raises:
        MissingExtraError: Without scikit-learn.
    """
    known = _known(classes)
    val, val_truth = _known_side(classes.val, known)
    if len(known) < 2 or not len(val):
        return None
    train = _part(embedded.images[classes.train.rows], np.searchsorted(known, classes.train.truth), len(known))
    held_out = _part(embedded.images[val.rows], val_truth, len(known))
    heads = {
        penalty: fit_linear(train, held_out, "softmax", AdapterSettings(inverse_penalties=(penalty,)))
        for penalty in INVERSE_PENALTIES
    }

    def score(penalty: float, side: Side) -> Floats:
        return activate(logits(heads[penalty], embedded.images[side.rows]), "softmax")

    best = _least_loss({penalty: score(penalty, val) for penalty in heads}, val_truth)
    choice = Choice(
        what=f"linear probe, {classes.source or '(no name)'}: inverse L2 penalty",
        value=f"{best:g}",
        how=f"least log loss of {', '.join(f'{one:g}' for one in INVERSE_PENALTIES)}",
        split=val_split,
    )
    return _scores(PROBE, classes, known, score(best, classes.test), score(best, classes.val), (choice,))


def log_loss(probabilities: Floats, truth: Integers) -> Floats:
    """(n,) in nats, of (n, K) probabilities and the true columns (n,)."""
    losses: Floats = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _LEAST))
    return losses


def _least_loss(candidates: Mapping[int, Floats] | Mapping[float, Floats], truth: Integers) -> float:
    """The candidate of the least mean log loss, the first of equals."""
    return min(candidates, key=lambda one: float(log_loss(candidates[one], truth).mean()))


def _known(classes: SourceClasses) -> Integers:
    """The classes that have a picture to learn from."""
    return np.unique(classes.train.truth)


def _known_side(side: Side, known: Integers) -> tuple[Side, Integers]:
    """The pictures of known classes, and their places among these."""
    kept = side.take(np.flatnonzero(np.isin(side.truth, known)))
    return kept, np.searchsorted(known, kept.truth)


def _part(vectors: NDArray[np.float32], truth: Integers, count: int) -> Part:
    return Part.of(vectors, np.eye(count)[truth], "softmax", balanced=False)


def _scores(
    method: str,
    classes: SourceClasses,
    known: Integers,
    test: Floats,
    val: Floats,
    choices: Sequence[Choice],
) -> Scores:
    """The pictures of the known classes, from the probabilities of all."""
    scored, chosen_on = (np.flatnonzero(np.isin(side.truth, known)) for side in (classes.test, classes.val))
    unseen = np.setdiff1d(classes.test.truth, known)
    return Scores(
        method=method,
        names=tuple(classes.names[one] for one in known),
        rows=classes.test.rows[scored],
        truth=np.searchsorted(known, classes.test.truth[scored]),
        probabilities=test[scored],
        val_truth=np.searchsorted(known, classes.val.truth[chosen_on]),
        val_probabilities=val[chosen_on],
        unseen=tuple(classes.names[one] for one in unseen),
        choices=tuple(choices),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice: ``Choice(what="kNN, chest: k", value="10", how="least log loss of 1, 5, 10", split="val")``.

    Attributes:
        what: What had to be chosen.
        value: What was.
        how: The rule, with what it had to choose from.
        split: The split that the rule saw; empty for what was fixed before any picture was seen.
    """

    what: str
    value: str
    how: str
    split: str = ""

    @property
    def made_on(self) -> str:
        """For a reader."""
        return f"the {self.split} split" if self.split else "fixed in advance"
