"""Embeddings with their labels and patients, and how to split them so that no patient is in two parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.patients import number_patients, reject_shared_patients
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.metrics.scores import Flags, Integers

LabelSets: TypeAlias = Sequence[str] | Sequence[frozenset[str]]
"""One label for each image, or a set of any number of labels for each image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledEmbeddings:
    """N embeddings with labels: ``LabelledEmbeddings(vectors=vectors, labels=["normal", "pneumonia"])``.

    Attributes:
        vectors: (N, D); converted to float32 of length 1.
        labels: One label for each image; or a frozenset of labels for each, where labels do not exclude each other.
        patients: One id for each image, '' where it is not known; empty when none is.
        uncertain: The labels of each image that it may have or not: they are neither trained nor scored for it; empty
            when all are known. Only for sets of labels.

    Raises:
        InputError: Vectors that are misshapen or not finite, another number of labels (``labels_mismatched``) or
            patients (``patients_mismatched``), or labels of both kinds (``label_invalid``).
    """

    vectors: ArrayLike
    labels: LabelSets
    patients: Sequence[str] = ()
    uncertain: Sequence[frozenset[str]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", unit_rows(self.vectors))
        if len(self.labels) != len(self):
            raise InputError(
                f"expected labels for each of {len(self)} vectors, got {len(self.labels)}", code="labels_mismatched"
            )
        if len({isinstance(label, str) for label in self.labels}) > 1:
            raise InputError(
                "expected a text for every image, or a frozenset for every image, got both", code="label_invalid"
            )
        if self.uncertain and (len(self.uncertain) != len(self) or self.exclusive):
            raise InputError(
                f"expected uncertain labels for each of {len(self)} images with sets of labels, got "
                f"{len(self.uncertain)}: give an empty set where all are known",
                code="labels_mismatched",
            )
        number_patients(self.patients or None, len(self))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> NDArray[np.float32]:
        """(N, D) float32 of length 1."""
        return np.asarray(self.vectors, dtype=np.float32)

    @property
    def groups(self) -> Integers:
        """(N,) the patient as a number; an image without a patient id has a number of its own."""
        return number_patients(self.patients or None, len(self))

    @property
    def exclusive(self) -> bool:
        """True if every image has exactly one label."""
        return all(isinstance(label, str) for label in self.labels)

    @property
    def label_sets(self) -> list[frozenset[str]]:
        """The labels of every image as sets, also where there is exactly one."""
        return [frozenset([label]) if isinstance(label, str) else label for label in self.labels]

    @property
    def names(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(frozenset().union(*self.label_sets)))

    def truth(self, names: Sequence[str]) -> Flags:
        """Return which of the named labels each image has: (N, L) bool."""
        return np.array([[name in labels for name in names] for labels in self.label_sets], dtype=bool).reshape(
            len(self), len(names)
        )

    def known(self, names: Sequence[str]) -> Flags:
        """Return for which of the named labels it is known whether each image has it: (N, L) bool."""
        if not self.uncertain:
            return np.ones((len(self), len(names)), dtype=bool)
        return np.array([[name not in labels for name in names] for labels in self.uncertain], dtype=bool)

    def take(self, rows: Integers) -> LabelledEmbeddings:
        """Return the images of these rows."""
        return LabelledEmbeddings(
            vectors=self.rows[rows],
            labels=[self.labels[row] for row in rows],
            patients=[self.patients[row] for row in rows] if self.patients else (),
            uncertain=[self.uncertain[row] for row in rows] if self.uncertain else (),
        )


def split_by_patient(
    data: LabelledEmbeddings, *, fraction: float = 0.2, seed: int = 0
) -> tuple[LabelledEmbeddings, LabelledEmbeddings]:
    """Split into a training and a validation part with no patient in both.

    About ``fraction`` of the patients of each label, at least one, are in validation, and at least one is in training;
    a label of a single patient is in training. A patient counts for the rarest of its labels, so that rare labels are
    in both parts.

    Raises:
        InputError: ``fraction`` is out of range (``fraction_invalid``).
    """
    if not 0 < fraction < 1:
        raise InputError(f"expected a fraction between 0 and 1, got {fraction}", code="fraction_invalid")
    groups = data.groups
    label_of_patient = _rarest_labels(data.label_sets, groups)
    generator = np.random.default_rng(seed)
    held_out: list[int] = []
    for label in sorted(set(label_of_patient.values())):
        patients = sorted(patient for patient, rarest in label_of_patient.items() if rarest == label)
        count = min(max(1, round(fraction * len(patients))), len(patients) - 1)
        held_out.extend(generator.permutation(patients)[:count].tolist())
    is_held_out = np.isin(groups, held_out)
    return data.take(np.flatnonzero(~is_held_out)), data.take(np.flatnonzero(is_held_out))


def _rarest_labels(label_sets: Sequence[frozenset[str]], groups: Integers) -> dict[int, str]:
    """Return the rarest label of each patient; '' for a patient without labels."""
    counts = Counter(label for labels in label_sets for label in labels)
    labels_of_patient: dict[int, frozenset[str]] = {}
    for labels, group in zip(label_sets, groups.tolist(), strict=True):
        labels_of_patient[group] = labels_of_patient.get(group, frozenset()) | labels
    return {
        group: min(labels, key=lambda label: (counts[label], label), default="")
        for group, labels in labels_of_patient.items()
    }


def check_trainable(train: LabelledEmbeddings, validation: LabelledEmbeddings) -> tuple[str, ...]:
    """Return the labels to train, sorted.

    Raises:
        InputError: Fewer than two labels, or none (``labels_too_few``); a label with a single image or that all images
            have (``label_too_rare``, ``label_everywhere``); a label that only one part has (training:
            ``label_not_in_validation``, validation: ``label_unknown``); parts with different kinds of labels
            (``label_invalid``) or of two models (``embeddings_bad_shape``), or that share a patient
            (``patients_shared``).
    """
    if train.exclusive != validation.exclusive:
        raise InputError(
            "expected one label for each image in both parts, or sets of labels in both, got one part of each kind",
            code="label_invalid",
        )
    unit_rows(validation.rows, name="validation vectors", dim=train.rows.shape[1])
    names = train.names
    minimum = 2 if train.exclusive else 1
    if len(names) < minimum:
        raise InputError(
            f"expected at least {minimum} labels in training, got {len(names)}: add images with other labels",
            code="labels_too_few",
        )
    counts = dict(zip(names, train.truth(names).sum(axis=0).tolist(), strict=True))
    if single := [name for name in names if counts[name] < 2]:
        raise InputError(
            f"expected at least two training images of a label, got one of {_quoted(single)}: add some, or drop it",
            code="label_too_rare",
        )
    if everywhere := [name for name in names if counts[name] == len(train)]:
        raise InputError(
            f"expected training images without each label, all have {_quoted(everywhere)}: add some without it",
            code="label_everywhere",
        )
    if unknown := sorted(set(validation.names) - set(names)):
        raise InputError(
            f"expected validation images of the training labels, got {_quoted(unknown)}: leave them out, or train them",
            code="label_unknown",
        )
    if absent := sorted(set(names) - set(validation.names)):
        raise InputError(
            f"expected validation images of every label, got none of {_quoted(absent)}: add some, from other patients",
            code="label_not_in_validation",
        )
    reject_shared_patients(
        train.patients,
        validation.patients,
        "training and validation",
        "split by patient",
    )
    return names


def _quoted(names: Sequence[str], maximum: int = 5) -> str:
    more = len(names) - maximum
    return ", ".join(map(repr, names[:maximum])) + (f" and {more} more" if more > 0 else "")
