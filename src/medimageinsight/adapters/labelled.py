"""Vectors with their labels and patients, and how they are split so that no patient is on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.vectors import number_patients, refuse_shared, unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Flags, Integers

LabelSets: TypeAlias = Sequence[str] | Sequence[frozenset[str]]
"""One label an image, or a set of any number of labels an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """N vectors with what is known of them: ``Labelled(vectors=vectors, labels=["normal", "pneumonia"])``.

    Attributes:
        vectors: (N, D); made float32 of length 1.
        labels: One label an image; or a frozenset of labels an image, where labels do not exclude each other.
        patients: One id an image, '' where it is not known; empty when none is.

    Raises:
        InputError: Vectors that are misshapen or not finite, another number of labels (``labels_mismatched``) or
            patients (``patients_mismatched``), or labels of both kinds (``label_invalid``).
    """

    vectors: ArrayLike
    labels: LabelSets
    patients: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", unit_rows(self.vectors))
        if len(self.labels) != len(self):
            raise InputError(
                f"expected labels for each of {len(self)} vectors, got {len(self.labels)}", code="labels_mismatched"
            )
        if len({isinstance(label, str) for label in self.labels}) > 1:
            raise InputError("expected a text for every image, or a frozenset for every one", code="label_invalid")
        number_patients(self.patients or None, len(self))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> NDArray[np.float32]:
        """(N, D) float32 of length 1."""
        return np.asarray(self.vectors, dtype=np.float32)

    @property
    def groups(self) -> Integers:
        """(N,) the patient as a number; an image without a patient id is its own."""
        return number_patients(self.patients or None, len(self))

    @property
    def exclusive(self) -> bool:
        """Whether every image has one label."""
        return all(isinstance(label, str) for label in self.labels)

    @property
    def sets(self) -> list[frozenset[str]]:
        """The labels of every image, also where it is one."""
        return [frozenset([label]) if isinstance(label, str) else label for label in self.labels]

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(frozenset().union(*self.sets)))

    def truth(self, names: Sequence[str]) -> Flags:
        """(N, L) bool: whether an image has each of the named labels."""
        return np.array([[name in labels for name in names] for labels in self.sets], dtype=bool).reshape(
            len(self), len(names)
        )

    def take(self, rows: Integers) -> Labelled:
        """Some of the images."""
        return Labelled(
            vectors=self.rows[rows],
            labels=[self.labels[row] for row in rows],
            patients=[self.patients[row] for row in rows] if self.patients else (),
        )


def split_by_patient(data: Labelled, *, fraction: float = 0.2, seed: int = 0) -> tuple[Labelled, Labelled]:
    """A training and a validation part with no patient in both.

    Of the patients of each label about ``fraction``, at least one, go to validation, and at least one stays; a label of
    a single patient stays in training. A patient counts for the rarest of its labels, so that rare ones are shared out.

    Args:
        data: What to split.
        fraction: Above 0 and below 1.
        seed: The same seed makes the same split.

    Raises:
        InputError: ``fraction`` is out of range (``fraction_invalid``).
    """
    if not 0 < fraction < 1:
        raise InputError(f"expected a fraction between 0 and 1, got {fraction}", code="fraction_invalid")
    groups = data.groups
    label_of_patient = _rarest_labels(data.sets, groups)
    generator = np.random.default_rng(seed)
    held_out: list[int] = []
    for label in sorted(set(label_of_patient.values())):
        patients = sorted(patient for patient, one in label_of_patient.items() if one == label)
        count = min(max(1, round(fraction * len(patients))), len(patients) - 1)
        held_out.extend(generator.permutation(patients)[:count].tolist())
    is_held_out = np.isin(groups, held_out)
    return data.take(np.flatnonzero(~is_held_out)), data.take(np.flatnonzero(is_held_out))


def _rarest_labels(sets: Sequence[frozenset[str]], groups: Integers) -> dict[int, str]:
    """The rarest label of each patient; '' for one without any."""
    counts = Counter(label for labels in sets for label in labels)
    found: dict[int, frozenset[str]] = {}
    for labels, group in zip(sets, groups.tolist(), strict=True):
        found[group] = found.get(group, frozenset()) | labels
    return {group: min(labels, key=lambda one: (counts[one], one), default="") for group, labels in found.items()}


def check_trainable(train: Labelled, validation: Labelled) -> tuple[str, ...]:
    """The labels to learn, sorted.

    Raises:
        InputError: Fewer than two labels, or none (``labels_too_few``); a label with a single image or that all images
            have (``label_too_rare``, ``label_everywhere``); one that the validation part lacks
            (``label_not_in_validation``) or alone has (``label_unknown``); parts of two kinds (``label_invalid``) or
            of two models (``embeddings_bad_shape``), or that share a patient (``patients_shared``).
    """
    if train.exclusive != validation.exclusive:
        raise InputError("expected both parts to have one label an image, or sets of them", code="label_invalid")
    unit_rows(validation.rows, what="validation vectors", dim=train.rows.shape[1])
    names = train.names
    least = 2 if train.exclusive else 1
    if len(names) < least:
        raise InputError(
            f"expected at least {least} labels in training, got {len(names)}: add images of others",
            code="labels_too_few",
        )
    counts = dict(zip(names, train.truth(names).sum(axis=0).tolist(), strict=True))
    if single := [name for name in names if counts[name] < 2]:
        raise InputError(
            f"expected at least two training images of a label, got one of {_listed(single)}: add some, or drop it",
            code="label_too_rare",
        )
    if everywhere := [name for name in names if counts[name] == len(train)]:
        raise InputError(
            f"expected training images without a label for each, all have {_listed(everywhere)}: add some without it",
            code="label_everywhere",
        )
    if unknown := sorted(set(validation.names) - set(names)):
        raise InputError(
            f"expected validation images of the training labels, got {_listed(unknown)}: leave them out, or train them",
            code="label_unknown",
        )
    if absent := sorted(set(names) - set(validation.names)):
        raise InputError(
            f"expected validation images of every label, got none of {_listed(absent)}: add some, from other patients",
            code="label_not_in_validation",
        )
    refuse_shared(
        train.patients,
        validation.patients,
        "expected no patient in both training and validation, got one: split by patient",
    )
    return names


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(map(repr, names[:most])) + (f" and {more} more" if more > 0 else "")
