"""Search of a store by an image, a text, a stored image or a vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight._deprecated import renamed_argument
from medimageinsight.errors import InputError
from medimageinsight.search.identity import Identity

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.images import Source
    from medimageinsight.search.records import Hit
    from medimageinsight.search.store import Store


@renamed_argument("other_than_same", "exclude_same")
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
    """Find the stored images nearest to an image, a text, a stored image or a vector (D,), best first.

        search.search(model, store, text="x-ray chest pneumonia", where="PatientAge >= 60")
        search.search(None, store, item_id="1.dcm", exclude_same="PatientID")

    The store's model is not needed for `item_id` and `vector`. An image is prepared as the store's images were,
    whatever the model's own preprocessing is. The result for a stored image includes itself. The other arguments are
    those of `Store.search`, and with `item_id` of `Store.more_like`.

    Raises:
        InputError: Not exactly one of the four is given, or no model where one is needed (``query_invalid``),
            ``store_other_model``, an `ImageError` or a `TextError`, else as the store's methods.
    """
    queries = {"an image": image, "a text": text, "a stored image's id": item_id, "a vector": vector}
    given = [name for name, query in queries.items() if query is not None]
    if len(given) != 1:
        raise InputError(
            f"expected one of {', '.join(queries)}, got {' and '.join(given) or 'none'}", code="query_invalid"
        )
    if item_id is not None:
        return store.more_like(item_id, k=k, where=where, min_score=min_score, exact=exact, exclude_same=exclude_same)
    if exclude_same is not None:
        raise InputError(
            f"expected exclude_same with a stored image's id, got it with {given[0]}, which has no metadata",
            code="query_invalid",
        )
    if vector is None:
        if model is None:
            raise InputError("expected a model to embed the query, got none: load one", code="query_invalid")
        store.identity.check_model(Identity.of(model))
        if image is None:
            vector = model.embed_texts(text or "")
        else:
            (vector,) = model.embed_images([image], frame=frame, preprocessing=store.identity.settings())
    return store.search(vector, k=k, where=where, min_score=min_score, exact=exact)


def read_vector(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read a query vector (D,) from a ``.npy`` file of shape (D,) or (1, D); nothing in the file is executed.

    Raises:
        InputError: It is not an array of numbers (``vector_unreadable``).
        OSError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            array = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError):
        got = "a file that is no array of numbers"
    else:
        got = f"values of type {array.dtype.name}" if isinstance(array, np.ndarray) else "several arrays"
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiu":
            return np.asarray(array[0] if array.ndim == 2 and len(array) == 1 else array, dtype=np.float64)
    raise InputError(
        f"expected a .npy file of numbers, got {got}: write it with mi2 embed --out", code="vector_unreadable"
    )
