"""A search as a person asks for it: by an image, a text, a stored image or a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import InputError
from medimageinsight.search.identity import Identity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.images import Source
    from medimageinsight.search.store import Store
    from medimageinsight.search.values import Hit


def search(
    model: MedImageInsight | None,
    store: Store,
    *,
    image: Source | None = None,
    text: str | None = None,
    item_id: str | None = None,
    vector: ArrayLike | None = None,
    k: int = 10,
    where: str | None = None,
    min_score: float | None = None,
    exact: bool = False,
    exclude_same: str | None = None,
    frame: int = 0,
) -> list[Hit]:
    """The stored images nearest to one thing, best first.

        search.search(model, store, text="x-ray chest pneumonia", where="PatientAge >= 60")
        search.search(None, store, item_id="1.dcm", exclude_same="PatientID")

    Args:
        model: The store's own; not needed for `item_id` and `vector`.
        store: Where to search.
        image: An image, prepared as those of the store were, whatever the model's own way is.
        text: A text.
        item_id: A stored image, itself included in the result.
        vector: An embedding (D,) of the store's model.
        k: As in `Store.search`.
        where: As in `Store.search`.
        min_score: As in `Store.search`.
        exact: As in `Store.search`.
        exclude_same: As in `Store.more_like`, for `item_id` alone.
        frame: Which frame of a multi-frame image.

    Raises:
        InputError: Not one of the four is given, or no model where one is needed (``query_invalid``),
            ``store_other_model``, an `ImageError` or a `TextError`, else as the store's methods.
    """
    given = [name for name, one in _named(image=image, text=text, item_id=item_id, vector=vector) if one is not None]
    if len(given) != 1:
        raise InputError(
            f"expected one of an image, a text, a stored image's id or a vector, got {' and '.join(given) or 'none'}",
            code="query_invalid",
        )
    if item_id is not None:
        return store.more_like(item_id, k=k, where=where, min_score=min_score, exact=exact, exclude_same=exclude_same)
    if exclude_same is not None:
        raise InputError(
            "expected exclude_same with a stored image's id alone: what is searched for has no metadata",
            code="query_invalid",
        )
    if vector is None:
        vector = _embed(model, store, image, text, frame)
    return store.search(vector, k=k, where=where, min_score=min_score, exact=exact)


def _named(**values: object) -> list[tuple[str, object]]:
    return list(values.items())


def _embed(
    model: MedImageInsight | None, store: Store, image: Source | None, text: str | None, frame: int
) -> NDArray[np.float32]:
    if model is None:
        raise InputError("expected a model to embed what is searched for, got none: load one", code="query_invalid")
    store.identity.check_model(Identity.of(model))
    if image is None:
        return model.embed_texts(text or "")
    embeddings = model.embed_images([image], frame=frame, preprocessing=store.identity.settings())  # (1, D)
    return embeddings.reshape(-1)
