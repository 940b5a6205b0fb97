"""Classification by the most similar labelled images, which are the answer's evidence.

Votes are softmax(cosine / temperature) over the k neighbours (as in arXiv 1805.01978, section 3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.heads import softmax
from medimageinsight.metrics.retrieval import nearest
from medimageinsight.metrics.vectors import number_patients, unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class NeighbourSettings:
    """How neighbours vote: ``NeighbourSettings(k=20)``.

    Attributes:
        k: How many vote.
        temperature: In units of cosine; the lower, the more the nearest decides.

    Raises:
        InputError: ``neighbour_settings_invalid``.
    """

    k: int = 10
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 < self.temperature < np.inf:
            raise InputError(
                f"expected k of 1 or more and a temperature above 0, got {self.k} and {self.temperature}",
                code="neighbour_settings_invalid",
            )


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """One labelled image that voted: its place among the references, label, cosine and share of the vote."""

    index: int
    label: str
    similarity: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class NeighbourAnswer:
    """What the neighbours say of one image.

    Attributes:
        probabilities: Of every label of the references, sorted by name; they sum to 1, or are all 0 without neighbours.
        neighbours: Who voted, most similar first; none where all references are of the image's own patient.
    """

    probabilities: dict[str, float]
    neighbours: tuple[Neighbour, ...]

    @property
    def label(self) -> str | None:
        """The most probable label; None without neighbours."""
        return max(self.probabilities, key=self.probabilities.__getitem__) if self.neighbours else None


def classify_by_neighbours(
    queries: ArrayLike,
    references: ArrayLike,
    labels: Sequence[str],
    *,
    settings: NeighbourSettings | None = None,
    query_patients: Sequence[str] | None = None,
    reference_patients: Sequence[str] | None = None,
) -> list[NeighbourAnswer]:
    """Label images by their k most similar labelled images.

        answers = classify_by_neighbours(model.embed_images(new), model.embed_images(known), labels)
        answers[0].label, answers[0].neighbours[0].similarity

    Args:
        queries: (Q, D), the images to label.
        references: (R, D), the labelled images.
        labels: R names.
        settings: k and the temperature.
        query_patients: Q ids; references of an image's own patient do not vote. '' where it is not known.
        reference_patients: R ids.

    Raises:
        InputError: Vectors that do not fit or are not finite, no references (``references_empty``), another number of
            labels (``labels_mismatched``) or patients (``patients_mismatched``).
    """
    settings = settings or NeighbourSettings()
    known = unit_rows(references, what="reference vectors")
    asked = unit_rows(queries, what="query vectors", dim=known.shape[1])
    if not len(known):
        raise InputError("expected at least one labelled vector, got none", code="references_empty")
    if len(labels) != len(known):
        raise InputError(
            f"expected a label for each of {len(known)} vectors, got {len(labels)}", code="labels_mismatched"
        )
    query_groups, reference_groups = _groups(query_patients, len(asked), reference_patients, len(known))
    found = nearest(asked, known, settings.k, query_groups=query_groups, gallery_groups=reference_groups)
    names = sorted(set(labels))
    return [
        _answer(rows, known[rows] @ query, labels, names, settings.temperature)
        for row, query in zip(found, asked, strict=True)
        for rows in (row[row >= 0],)
    ]


def vote(cosines: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Each neighbour's share of the vote, (k,), which sum to 1: the softmax of cosines (k,) over the temperature."""
    return softmax(np.asarray(cosines, dtype=np.float64) / temperature)


def _groups(
    query_patients: Sequence[str] | None, queries: int, reference_patients: Sequence[str] | None, references: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Patients of both sides as numbers; an unknown one is -1 among the queries, which no reference is."""
    named = sorted({*(query_patients or ()), *(reference_patients or ())} - {""})
    of_query = number_patients(query_patients, queries, known=named)
    of_reference = number_patients(reference_patients, references, known=named)
    return np.where(of_query < len(named), of_query, -1), of_reference


def _answer(
    rows: NDArray[np.int64],
    cosines: NDArray[np.float32],
    labels: Sequence[str],
    names: Sequence[str],
    temperature: float,
) -> NeighbourAnswer:
    """The vote of the references in ``rows``, whose cosines are (k,)."""
    similarity = np.clip(cosines.astype(np.float64), -1.0, 1.0)
    neighbours = tuple(
        Neighbour(index=int(row), label=labels[row], similarity=float(cosine), weight=float(share))
        for row, cosine, share in zip(rows, similarity, vote(similarity, temperature), strict=True)
    )
    total = dict.fromkeys(names, 0.0)
    for one in neighbours:
        total[one.label] += one.weight
    return NeighbourAnswer(probabilities=total, neighbours=neighbours)
