"""Classification by the labels of the most similar stored images, which are returned as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits, read_source
from medimageinsight.search.identity import Identity
from medimageinsight.search.query_metadata import find_own_patient, find_own_values, patient_columns
from medimageinsight.tasks import NeighbourSettings, vote_shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import ValidationStatistics
    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.images import Source, WindowLike
    from medimageinsight.search.records import Hit, Value
    from medimageinsight.search.store import Store


@dataclass(frozen=True, kw_only=True)
class StoreNeighbour:
    """A stored image that voted: its label, and its share of the vote."""

    hit: Hit
    label: str
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"id", "path", "score", "weight", "label", "metadata"}``, the form of the JSON documents."""
        hit = self.hit
        return {"id": hit.id, "path": hit.path, "score": hit.score, "weight": self.weight, "label": self.label,
                "metadata": hit.metadata}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StoreClassification:
    """Classification of one image by a store.

    Attributes:
        probabilities: Label to probability, the most probable first, for the labels of the neighbours; the sum is 1.
        neighbours: The stored images that voted, most similar first.
        excluded: The number of stored images of the query's own patient, or equal to it in another column, that could
            not vote.
        patients_unknown: True if the patient of the query or of an image that voted is not known: they may be one.
        unlike_validation: Whether the image is unlike what the model was checked on; None without statistics.
    """

    probabilities: dict[str, float]
    neighbours: tuple[StoreNeighbour, ...]
    excluded: int = 0
    patients_unknown: bool = True
    unlike_validation: bool | None = None

    @property
    def cosine(self) -> float | None:
        """The cosine of the most similar stored image; None without neighbours."""
        return self.neighbours[0].hit.score if self.neighbours else None

    @property
    def label(self) -> str | None:
        """The most probable label; None without neighbours."""
        return next(iter(self.probabilities), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the JSON documents."""
        return {
            "probabilities": dict(self.probabilities),
            "cosine": self.cosine,
            "unlike_validation": self.unlike_validation,
            "neighbours": [neighbour.to_dict() for neighbour in self.neighbours],
            "excluded": self.excluded,
            "patients_unknown": self.patients_unknown,
        }


def classify(
    model: MedImageInsight,
    store: Store,
    sources: Iterable[Source],
    *,
    label: str,
    k: int = 10,
    temperature: float = 0.07,
    where: str | None = None,
    errors: OnError = "raise",
    frame: int = 0,
    window: WindowLike | None = None,
    exclude_same: str | None = None,
    progress: Progress | None = None,
) -> list[StoreClassification | InputError]:
    """Classify images by their k most similar stored images that have a label.

        (result,) = search.classify(model, store, ["new.dcm"], label="finding")
        result.label, result.neighbours[0].hit.path

    `label` is the column of labels; stored images without a label do not vote, nor do those of the query's own patient,
    where the store has a column of patients and the query is stored or a DICOM file (`find_own_patient`), nor the query
    itself, if it is stored under its path. `exclude_same` is a further column whose values exclude, see `search`. The
    lower `temperature`, in units of cosine, the more the nearest neighbours decide. The other arguments are those of
    `MedImageInsight.embed_images` and `Store.search`.

    Returns:
        The classification of each image; with ``errors="return"`` the error of an unusable one.

    Raises:
        InputError: ``store_other_model``, ``store_other_preprocessing``, ``column_unknown``, ``filter_invalid``,
            ``neighbour_settings_invalid``, or an image cannot be used.
        StoreError: The store cannot be read.
    """
    settings = NeighbourSettings(k=k, temperature=temperature)
    store.identity.check_model(Identity.of(model))
    listed = [_rereadable(source) for source in sources]
    preprocessing = store.identity.settings(window=window)
    statistics = model.statistics_for(preprocessing)
    embeddings = model.embed_images(
        iter(listed),
        errors="raise" if errors == "raise" else "return",
        frame=frame,
        preprocessing=preprocessing,
        progress=progress,
    )
    results: list[StoreClassification | InputError] = []
    for source, embedding in zip(listed, embeddings, strict=True):
        try:
            if isinstance(embedding, InputError):
                raise embedding
            without = find_own_patient(store, source)
            if exclude_same is not None:
                without[exclude_same] = find_own_values(store, source, exclude_same)
        except InputError as error:
            if errors == "raise" or error.code == "column_unknown":
                raise
            results += [error] if errors == "return" else []
            continue
        results.append(
            classify_vector(
                store, embedding, label=label, settings=settings, where=where, without=without, statistics=statistics
            )
        )
    return results


def classify_vector(
    store: Store,
    vector: ArrayLike,
    *,
    label: str,
    settings: NeighbourSettings,
    where: str | None = None,
    without: Mapping[str, Sequence[Value]] | None = None,
    statistics: ValidationStatistics | None = None,
) -> StoreClassification:
    """Classify one embedding (D,) by its most similar stored images; ``without`` is that of `Store.search`.

    Raises:
        InputError: ``column_unknown``, ``filter_invalid``, ``k_invalid``, ``embedding_invalid``.
        StoreError: The store cannot be read.
    """
    hits = store.search(vector, k=settings.k, where=where, having=label, without=without)
    weights = vote_shares(np.array([hit.score for hit in hits]), settings.temperature)
    neighbours = tuple(
        StoreNeighbour(hit=hit, label=str(hit.metadata[label]), weight=weight)
        for hit, weight in zip(hits, weights.tolist(), strict=True)
    )
    totals: dict[str, float] = {}
    for neighbour in neighbours:
        totals[neighbour.label] = totals.get(neighbour.label, 0.0) + neighbour.weight
    may_vote = partial(store.count, where=where, having=label)
    known = [column for column in patient_columns(store) if column in (without or {})]
    return StoreClassification(
        probabilities=dict(sorted(totals.items(), key=lambda entry: -entry[1])),
        neighbours=neighbours,
        excluded=may_vote() - may_vote(without=without) if without else 0,
        unlike_validation=None if statistics is None else statistics.unlike(vector)[0],
        patients_unknown=not known or any(all(hit.metadata.get(column) is None for column in known) for hit in hits),
    )


def _rereadable(source: Source) -> Source:
    """Return a source that can be read twice: the header of a DICOM file, and the image."""
    if not hasattr(source, "read"):
        return source
    try:
        return read_source(source, Limits())
    except ImageError:
        return source
