"""Images and texts of a request as rows, and their embeddings."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medimageinsight.errors import InputError
from medimageinsight.preprocess import Preprocessing
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.routes.state import ServerState
from medimageinsight.serve.scoring_request import Row, check_rows, make_row

Vector: TypeAlias = NDArray[np.float32]  # (D,)


def image_row(image: str | None, *, frame: int, window: str | None, allow_urls: bool) -> Row:
    """Return the row of one image, or of its error."""
    try:
        if not image:
            raise InputError("expected an image, got an empty cell", code="image_empty")
        return make_row(image, None, frame=frame, window=window, allow_urls=allow_urls)
    except InputError as error:
        return Row(error=error)


def image_rows(server: ServerState, images: Sequence[str | None], *, frame: int, window: str | None) -> list[Row]:
    """Return a row for each image; an image that cannot be used is its row's error.

    Raises:
        RequestError: ``request_too_many_rows``.
    """
    check_rows(len(images), server.settings.max_rows)
    return [image_row(image, frame=frame, window=window, allow_urls=server.allow_urls) for image in images]


async def embed_images(
    served: ServedModel, rows: Sequence[Row], preprocessing: Preprocessing
) -> list[Vector | InputError]:
    """Return the embedding or the error of each image."""
    results = await served.embed_rows(rows, preprocessing)
    return [result if isinstance(result, InputError) else _vector(result) for result in results]


async def embed_all(
    served: ServedModel, rows: Sequence[Row], preprocessing: Preprocessing, names: Sequence[str] = ()
) -> list[Vector]:
    """Return the embedding of each row.

    Raises:
        InputError: A row cannot be used; its name, where rows have names, precedes the message.
    """
    vectors = []
    for index, result in enumerate(await served.embed_rows(rows, preprocessing)):
        if isinstance(result, InputError):
            raise type(result)(f"{names[index]}: {result.message}", code=result.code) if names else result
        vectors.append(_vector(result))
    return vectors


async def embed_texts(served: ServedModel, texts: Iterable[str]) -> dict[str, Vector]:
    """Return the embedding (D,) of each distinct text.

    Raises:
        InputError: A text cannot be used.
    """
    distinct = list(dict.fromkeys(texts))
    rows = [Row(text=text) for text in distinct]
    return dict(zip(distinct, await embed_all(served, rows, served.model.preprocessing), strict=True))


def _vector(features: Any) -> Vector:  # noqa: ANN401 - Features, with an image or a text
    vector: Vector = features.text if features.image is None else features.image
    return vector
