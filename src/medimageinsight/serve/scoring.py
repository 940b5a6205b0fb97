"""A scoring request answered without a server: read the rows, embed them, shape the answer.

from medimageinsight import MedImageInsight
from medimageinsight.serve import score, to_json

answer = score(request_body, MedImageInsight.load())
answer.status, to_json(answer)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import InputError, TextError
from medimageinsight.serve.contract import RequestLimits, parse_request
from medimageinsight.serve.scoring_response import Features, ScoringResponse, answer_request, refuse
from medimageinsight.tokenizer import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.preprocess import Preprocessing, Steps
    from medimageinsight.serve.contract import Row, ScoreRequest
    from medimageinsight.serve.params import Params, ResponseShape

    Vector: TypeAlias = NDArray[np.float32]


def score(
    body: bytes | Mapping[str, Any],
    model: MedImageInsight,
    *,
    response_shape: ResponseShape = "auto",
    limits: RequestLimits = RequestLimits(),  # noqa: B008 - frozen
) -> ScoringResponse:
    """ScoringResponse one scoring request.

    Args:
        body: JSON, or what it was parsed to; its forms are told in `medimageinsight.serve.contract`.
        model: Embeds the rows, preprocessed as its manifest says for scoring unless the request says otherwise.
        response_shape: As in `answer_request`.
        limits: What the request may not exceed.

    Returns:
        Status 200 with a list; or 400, 413 or 422 with ``{"error": {"code", "message"}}``.

    Raises:
        ModelError: An encoder cannot be loaded or run.
    """
    try:
        request = parse_request(body, limits=limits)
    except InputError as error:
        return refuse(error)
    return answer_request(
        request, embed_request(request, model), logit_scale=model.logit_scale, response_shape=response_shape
    )


def embed_request(request: ScoreRequest, model: MedImageInsight) -> list[Features | InputError]:
    """The features or the error of each row, in order.

    An image or a text that comes in several rows is embedded once. Where a bad row fails the whole request, nothing is
    embedded after it was found, and the other rows are without features.

    Raises:
        ModelError: An encoder cannot be loaded or run.
    """
    rows = _usable(request, request.rows, lambda row: row.error)
    texts = _embed_texts(dict.fromkeys(row.text for row in rows if row.text is not None), model)
    rows = _usable(request, rows, lambda row: texts.get(row.text))
    settings = scoring_preprocessing(request.params, model)
    images = _embed_images(dict.fromkeys(row.image for row in rows if row.image is not None), model, settings)
    return [row_result(row, texts.get(row.text), images.get(row.image)) for row in request.rows]


def scoring_preprocessing(params: Params, model: MedImageInsight, default: Steps | None = None) -> Preprocessing:
    """How a request's images are prepared: as it says, else as the server does, else as the model's manifest does."""
    settings = model.preprocessing
    return dataclasses.replace(
        settings,
        default=params.preprocessing or default or model.manifest.scoring_preprocessing,
        standardization_size=params.standardization_size or settings.standardization_size,
        jpeg_quality=params.jpeg_quality or settings.jpeg_quality,
    )


def row_result(row: Row, text: Vector | InputError | None, image: Vector | InputError | None) -> Features | InputError:
    """What a row is answered, of what became of its cells: its error first, then its image's, then its text's."""
    if row.error is not None:
        return row.error
    if isinstance(image, InputError):
        return image
    if isinstance(text, InputError):
        return text
    return Features(image=image, text=text)


def _usable(request: ScoreRequest, rows: Sequence[Row], outcome: Callable[[Row], object]) -> Sequence[Row]:
    good = [row for row in rows if not isinstance(outcome(row), InputError)]
    return [] if request.params.on_error == "fail" and len(good) < len(rows) else good


def _embed_texts(texts: Iterable[str], model: MedImageInsight) -> dict[str | None, Vector | InputError]:
    good, outcomes = _sort_out(list(texts))
    return outcomes | dict(zip(good, model.embed_texts(good), strict=True)) if good else outcomes


def _sort_out(texts: list[str]) -> tuple[list[str], dict[str | None, Vector | InputError]]:
    """Texts that the tokenizer takes, and the errors of those that it does not."""
    good: list[str] = []
    errors: dict[str | None, Vector | InputError] = {}
    for text in texts:
        try:
            clean(text)
        except TextError as error:
            errors[text] = error
        else:
            good.append(text)
    return good, errors


def _embed_images(
    images: Iterable[bytes], model: MedImageInsight, settings: Preprocessing
) -> dict[bytes | None, Vector | InputError]:
    distinct = list(images)
    found = model.embed_images(distinct, errors="return", preprocessing=settings)
    return dict(zip(distinct, found, strict=True))
