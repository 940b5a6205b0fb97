"""Classification by a store: the labels of the stored images that are most like an image, and these as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.search.identity import Identity
from medimageinsight.tasks.neighbours import NeighbourSettings, vote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from medimageinsight.api import MedImageInsight
    from medimageinsight.embedder import OnError, Progress
    from medimageinsight.images import Source
    from medimageinsight.search.store import Store
    from medimageinsight.search.values import Hit


@dataclass(frozen=True, kw_only=True)
class StoreNeighbour:
    """One stored image that voted: its label, and its share of the vote."""

    hit: Hit
    label: str
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """``{"id", "path", "score", "weight", "label", "metadata"}``, the form of the JSON documents."""
        hit = self.hit
        return {"id": hit.id, "path": hit.path, "score": hit.score, "weight": self.weight, "label": self.label,
                "metadata": hit.metadata}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StoreAnswer:
    """What a store says of one image.

    Attributes:
        probabilities: Of the labels that the neighbours have, the most probable first; they sum to 1.
        neighbours: The evidence, most similar first.
    """

    probabilities: dict[str, float]
    neighbours: tuple[StoreNeighbour, ...]

    @property
    def label(self) -> str | None:
        """The most probable label; None where nothing in the store has one."""
        return next(iter(self.probabilities), None)

    def to_dict(self) -> dict[str, Any]:
        """``{"probabilities", "neighbours"}``, the form of the JSON documents."""
        return {"probabilities": dict(self.probabilities), "neighbours": [one.to_dict() for one in self.neighbours]}


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
    progress: Progress | None = None,
) -> list[StoreAnswer | InputError]:
    """Label images by their k most similar stored images that have a label.

        (answer,) = search.classify(model, store, ["new.dcm"], label="finding")
        answer.label, answer.neighbours[0].hit.path

    Args:
        model: The store's own; images are prepared as those of the store were.
        store: Where labelled images are. An image that is stored itself votes for itself: leave it out with `where`.
        sources: The images to label.
        label: The column of labels; images without one do not vote.
        k: How many vote.
        temperature: In units of cosine; the lower, the more the nearest decides.
        where: A filter that voters have to fit, see `filters`.
        errors: As in `MedImageInsight.embed_images`.
        frame: Which frame of multi-frame images.
        progress: Called with the number of images that are embedded.

    Returns:
        An answer for each image; with ``errors="return"`` the error of one that cannot be used.

    Raises:
        InputError: ``store_other_model``, ``column_unknown``, ``filter_invalid``, ``neighbour_settings_invalid``,
            or an image cannot be used.
        StoreError: The store cannot be read.
    """
    settings = NeighbourSettings(k=k, temperature=temperature)
    store.identity.check_model(Identity.of(model))
    embedded = model.embed_images(
        iter(sources), errors=errors, frame=frame, preprocessing=store.identity.settings(), progress=progress
    )
    return [
        one if isinstance(one, InputError) else classify_vector(store, one, label=label, settings=settings, where=where)
        for one in embedded
    ]


def classify_vector(
    store: Store, vector: ArrayLike, *, label: str, settings: NeighbourSettings, where: str | None = None
) -> StoreAnswer:
    """The same of one embedding (D,).

    Raises:
        InputError: ``column_unknown``, ``filter_invalid``, ``k_invalid``, ``embedding_invalid``.
        StoreError: The store cannot be read.
    """
    hits = store.search(vector, k=settings.k, where=where, having=label)
    labels = [str(hit.metadata[label]) for hit in hits]
    weights = vote(np.array([hit.score for hit in hits]), settings.temperature)
    total: dict[str, float] = {}
    for name, weight in zip(labels, weights.tolist(), strict=True):
        total[name] = total.get(name, 0.0) + weight
    return StoreAnswer(
        probabilities=dict(sorted(total.items(), key=lambda pair: -pair[1])),
        neighbours=tuple(
            StoreNeighbour(hit=hit, label=name, weight=weight)
            for hit, name, weight in zip(hits, labels, weights.tolist(), strict=True)
        ),
    )
