"""Classification by the most similar labelled images, which are returned as evidence.

The weights of the k neighbours are softmax(cosine / temperature) (as in arXiv 1805.01978, section 3.4).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.metrics.heads import softmax
from medimageinsight.metrics.patients import number_patients
from medimageinsight.metrics.retrieval import nearest
from medimageinsight.metrics.vectors import unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class NeighbourSettings:
    """How neighbours vote: ``NeighbourSettings(k=20)``.

    Attributes:
        k: Number of neighbours.
        temperature: In units of cosine; the lower, the larger the weight of the nearest neighbours.

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
    """One neighbour: its index in the references, its label, its cosine and its share of the vote."""

    index: int
    label: str
    similarity: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class NeighbourResult:
    """The classification of one image.

    The probabilities, of every label of the references sorted by name, sum to 1, or are all 0 without neighbours.
    """

    probabilities: dict[str, float]
    neighbours: tuple[Neighbour, ...]  # most similar first; empty where all references are of the image's own patient
    excluded: int = 0  # references of the image's own patient, which could not vote
    patients_unknown: bool = True  # the patient of the image or of a neighbour is not known: they may be one

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
) -> list[NeighbourResult]:
    """Classify images by their k most similar labelled images.

        results = classify_by_neighbours(model.embed_images(new), model.embed_images(known), labels)
        results[0].label, results[0].neighbours[0].similarity

    Queries are (Q, D), references (R, D) with R labels. References of an image's own patient are excluded and counted;
    a patient id is '' where it is not known, which the result states.

    Raises:
        InputError: Vectors that do not fit or are not finite, no references (``references_empty``), another number of
            labels (``labels_mismatched``) or patients (``patients_mismatched``).
    """
    settings = settings or NeighbourSettings()
    reference_rows = unit_rows(references, name="reference vectors")
    query_rows = unit_rows(queries, name="query vectors", dim=reference_rows.shape[1])
    if not len(reference_rows):
        raise InputError("expected at least one labelled vector, got none", code="references_empty")
    if len(labels) != len(reference_rows):
        raise InputError(
            f"expected a label for each of {len(reference_rows)} vectors, got {len(labels)}", code="labels_mismatched"
        )
    # Patients as numbers; an unknown query patient is -1, which excludes no reference.
    known = sorted({*(query_patients or ()), *(reference_patients or ())} - {""})
    query_groups = number_patients(query_patients, len(query_rows), known=known)
    neighbours = nearest(
        query_rows,
        reference_rows,
        settings.k,
        query_groups=np.where(query_groups < len(known), query_groups, -1),
        gallery_groups=number_patients(reference_patients, len(reference_rows), known=known),
    )
    names = sorted(set(labels))
    owners = np.array([""] * len(reference_rows) if reference_patients is None else reference_patients, dtype=object)
    images_of = Counter(owners.tolist())
    results = []
    for row, query, patient in zip(neighbours, query_rows, query_patients or [""] * len(query_rows), strict=True):
        indices = row[row >= 0]
        result = _vote(indices, reference_rows[indices] @ query, labels, names, settings.temperature)
        is_known = bool(patient) and all(owners[indices])
        excluded = images_of[patient] if patient else 0
        results.append(replace(result, excluded=excluded, patients_unknown=not is_known))
    return results


def vote_shares(cosines: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return each neighbour's share of the vote, (k,), sum 1: the softmax of cosines (k,) over the temperature."""
    return softmax(np.asarray(cosines, dtype=np.float64) / temperature)


def _vote(
    indices: NDArray[np.int64],
    cosines: NDArray[np.float32],
    labels: Sequence[str],
    names: Sequence[str],
    temperature: float,
) -> NeighbourResult:
    """Return the result of the vote of the references with these indices and cosines (k,)."""
    similarity = np.clip(cosines.astype(np.float64), -1.0, 1.0)
    neighbours = tuple(
        Neighbour(index=int(index), label=labels[index], similarity=float(cosine), weight=float(share))
        for index, cosine, share in zip(indices, similarity, vote_shares(similarity, temperature), strict=True)
    )
    totals = dict.fromkeys(names, 0.0)
    for neighbour in neighbours:
        totals[neighbour.label] += neighbour.weight
    return NeighbourResult(probabilities=totals, neighbours=neighbours)
