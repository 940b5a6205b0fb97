"""Images and texts of a request as rows, and their embeddings."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.preprocess import Preprocessing
from medimageinsight.serve.image_choice import ImageChoice, check_choice
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.routes.state import ServerState
from medimageinsight.serve.scoring_request import Row, check_rows, make_row
from medimageinsight.serve.studies import EmbeddedPart
from medimageinsight.studies import DEFAULT_POOLING, Pooling

Vector: TypeAlias = NDArray[np.float32]  # (D,)


async def image_row(server: ServerState, image: str | None, choice: ImageChoice, *, allow_urls: bool) -> Row:
    """Return the row of one image, or of its error; large base64 is decoded in a thread."""
    return await server.run(len(image or ""), lambda: _read_image(image, choice, allow_urls))


async def image_rows(server: ServerState, images: Sequence[str | None], choice: ImageChoice) -> list[Row]:
    """Return a row for each image; an image that cannot be used is its row's error.

    Raises:
        RequestError: ``request_too_many_rows``.
    """
    check_rows(len(images), server.settings.max_rows)
    size = sum(len(image or "") for image in images)
    allow_urls = server.allow_urls
    return await server.run(size, lambda: [_read_image(image, choice, allow_urls) for image in images])


def _read_image(image: str | None, choice: ImageChoice, allow_urls: bool) -> Row:
    try:
        if not image:
            raise InputError("expected an image, got an empty cell", code="image_empty")
        return make_row(image, None, choice, allow_urls=allow_urls)
    except InputError as error:
        return Row(error=error)


def choose(
    *, frame: int = 0, window: str | None = None, select: str | None = None, pooling: Pooling | None = None
) -> ImageChoice:
    """Return the choice that a request's members make.

    Raises:
        RequestError: They contradict each other (``selection_invalid``).
    """
    check_choice(frame, select, pooling)
    return ImageChoice(frame=frame, window=window, select=select, pooling=pooling or DEFAULT_POOLING)


async def embed_images(
    served: ServedModel, rows: Sequence[Row], preprocessing: Preprocessing
) -> list[Vector | InputError]:
    """Return the embedding or the error of each image."""
    results = await served.embed_rows(rows, preprocessing)
    return [result if isinstance(result, InputError) else result.vector for result in results]


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
        vectors.append(result.vector)
    return vectors


async def embed_texts(served: ServedModel, texts: Iterable[str]) -> dict[str, Vector]:
    """Return the embedding (D,) of each distinct text.

    Raises:
        InputError: A text cannot be used.
    """
    distinct = list(dict.fromkeys(texts))
    rows = [Row(text=text) for text in distinct]
    return dict(zip(distinct, await embed_all(served, rows, served.model.preprocessing), strict=True))


def describe_part(part: EmbeddedPart) -> dict[str, Any]:
    """Return the members of an image of a file in responses, its error among them."""
    error = schemas.ErrorDetail.of(part.result) if isinstance(part.result, InputError) else None
    return {"series": part.series, "frame": part.frame, "position_mm": part.position_mm, "error": error}
