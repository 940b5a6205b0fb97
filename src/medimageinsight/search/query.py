"""Search of a store by an image, a text, a stored image or a vector."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight._deprecated import renamed_argument
from medimageinsight.errors import InputError
from medimageinsight.search.identity import Identity
from medimageinsight.search.indexing import resolve_ids
from medimageinsight.search.query_metadata import find_own_values

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import VectorIdentity
    from medimageinsight.images import Source, WindowLike
    from medimageinsight.search.records import Hit, Value
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
    window: WindowLike | None = None,
) -> list[Hit]:
    """Find the stored images nearest to an image, a text, a stored image or a vector (D,), best first.

        search.search(model, store, text="x-ray chest pneumonia", where="PatientAge >= 60")
        search.search(None, store, item_id="1.dcm", exclude_same="PatientID")

    The store's model is not needed for `item_id` and `vector`. An image is prepared as the store's images were,
    whatever the model's own preprocessing is; another `window` is refused. The result for a stored image includes
    itself. The values of the query in the column `exclude_same`, such as ``PatientID``, are left out: those of a stored
    image, or of a query image and its DICOM header (`find_own_values`). The other arguments are those of
    `Store.search`.

    Raises:
        InputError: Not exactly one of the four is given, or no model where one is needed (``query_invalid``),
            ``store_other_model``, ``store_other_preprocessing``, an `ImageError` or a `TextError`, else as the
            store's methods.
    """
    query, without = resolve_query(
        model, store, image=image, text=text, item_id=item_id, vector=vector, exclude_same=exclude_same,
        frame=frame, window=window,
    )  # fmt: skip
    return store.search(query, k=k, where=where, min_score=min_score, exact=exact, without=without)


def resolve_query(
    model: MedImageInsight | None,
    store: Store,
    *,
    image: Source | None,
    text: str | None,
    item_id: str | None,
    vector: ArrayLike | None,
    exclude_same: str | None,
    frame: int,
    window: WindowLike | None,
) -> tuple[ArrayLike, dict[str, list[Value]] | None]:
    """Return the vector of a query, and the values that hits must not have; arguments and errors of `search`."""
    queries = {"an image": image, "a text": text, "a stored image's id": item_id, "a vector": vector}
    given = [name for name, query in queries.items() if query is not None]
    if len(given) != 1:
        raise InputError(
            f"expected one of {', '.join(queries)}, got {' and '.join(given) or 'none'}", code="query_invalid"
        )
    if item_id is not None:
        (item_id,) = resolve_ids(store, [item_id])
        item = store.get([item_id])[0]
        return item.embedding, None if exclude_same is None else {exclude_same: store.own_values(item, exclude_same)}
    without = None
    if exclude_same is not None:
        if image is None:
            raise InputError(
                f"expected exclude_same with an image or a stored image's id, got it with {given[0]}, which has no "
                "metadata: leave it out",
                code="query_invalid",
            )
        without = {exclude_same: find_own_values(store, image, exclude_same)}
    if vector is None:
        if model is None:
            raise InputError("expected a model to embed the query, got none: load one", code="query_invalid")
        store.identity.check_model(Identity.of(model))
        if image is None:
            vector = model.embed_texts(text or "")
        else:
            settings = store.identity.settings(window=window)
            (vector,) = model.embed_images([image], frame=frame, preprocessing=settings)
    return vector, without


def read_vector(path: str | os.PathLike[str], *, identity: VectorIdentity | None = None) -> NDArray[np.float64]:
    """Read a query vector (D,): a ``.npy`` file of shape (D,) or (1, D), or a ``.jsonl`` or ``.parquet`` file with one.

    Nothing in the file is executed. The vector is checked against a store's `identity`, if the file states its model.

    Raises:
        InputError: It is not an array of numbers (``vector_unreadable``), has several vectors (``vectors_invalid``), or
            is of another model (``vectors_other_model``).
        OSError: The file cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    from medimageinsight.datasets import read_vectors  # with many libraries, which a search does not need

    if Path(path).suffix != ".npy" or Path(f"{os.fspath(path)}.json").is_file():
        found = read_vectors(path)
        if identity is not None:
            found.check_model(identity)
        if len(found.vectors) != 1 or not found.succeeded.all():
            raise InputError(
                f"expected a file with one vector, got {int(found.succeeded.sum()):,}: embed one image",
                code="vectors_invalid",
            )
        return np.asarray(found.vectors[0], dtype=np.float64)
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
