"""Answer a scoring request without a server: parse the rows, embed them, format the response.

from medimageinsight import MedImageInsight
from medimageinsight.serve import score, to_json

response = score(request_body, MedImageInsight.load())
response.status, to_json(response)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import InputError, TextError
from medimageinsight.images import Limits
from medimageinsight.serve.label_scores import LabelVectors, label_texts
from medimageinsight.serve.scoring_request import RequestLimits, parse_request
from medimageinsight.serve.scoring_response import Features, ScoringResponse, answer_request, refuse, shape_of
from medimageinsight.serve.studies import PooledVector, StudyLimits, choose_images, needs_reader, pool_results
from medimageinsight.tokenizer import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.preprocess import Preprocessing, Steps
    from medimageinsight.serve.image_choice import ImageChoice
    from medimageinsight.serve.scoring_params import Params, ResponseShape
    from medimageinsight.serve.scoring_request import Row, ScoreRequest

    Vector: TypeAlias = NDArray[np.float32]


def score(
    body: bytes | Mapping[str, Any],
    model: MedImageInsight,
    *,
    response_shape: ResponseShape = "auto",
    limits: RequestLimits = RequestLimits(),  # noqa: B008 - frozen
) -> ScoringResponse:
    """Answer one scoring request.

    Args:
        body: JSON, or the parsed value, of a form that `medimageinsight.serve.scoring_request` documents.
        model: Embeds the rows. Images are preprocessed as the request asks, else as the manifest does for scoring.
        response_shape: As for `answer_request`.
        limits: Limits of the request.

    Returns:
        Status 200 with a list; or 400, 413 or 422 with ``{"error": {"code", "message"}}``.

    Raises:
        ModelError: An encoder cannot be loaded or run.
    """
    try:
        request = parse_request(body, limits=limits)
        labels = _label_vectors(model) if shape_of(request, response_shape) == "labels" else None
    except InputError as error:
        return refuse(error)
    return answer_request(
        request,
        embed_request(request, model),
        logit_scale=model.logit_scale,
        response_shape=response_shape,
        labels=labels,
    )


def _label_vectors(model: MedImageInsight) -> LabelVectors:
    names = model.manifest.labels
    return LabelVectors(labels=names, vectors=model.embed_texts(label_texts(names)))


def embed_request(request: ScoreRequest, model: MedImageInsight) -> list[Features | InputError]:
    """Return the features or the error of each row, in order.

    Equal images and equal texts are embedded once. If a bad row fails the whole request (``on_error``), nothing is
    embedded after it is found, and the rows without an error have no features.

    Raises:
        ModelError: An encoder cannot be loaded or run.
    """
    rows = _rows_to_embed(request, request.rows, lambda row: row.error)
    texts = _embed_texts(dict.fromkeys(row.text for row in rows if row.text is not None), model)
    rows = _rows_to_embed(request, rows, lambda row: texts.get(row.text))
    settings = scoring_preprocessing(request.params, model)
    images = dict.fromkeys(row.image for row in rows if row.image is not None)
    embedded = _embed_images(images, model, settings, request.params.image_choice)
    return [row_result(row, texts.get(row.text), embedded.get(row.image)) for row in request.rows]


def scoring_preprocessing(params: Params, model: MedImageInsight, default: Steps | None = None) -> Preprocessing:
    """Return the preprocessing of a request: its own, else the server's default, else the manifest's for scoring."""
    settings = model.preprocessing
    return dataclasses.replace(
        settings,
        default=params.preprocessing or default or model.manifest.scoring_preprocessing,
        standardization_size=params.standardization_size or settings.standardization_size,
        jpeg_quality=params.jpeg_quality or settings.jpeg_quality,
        window=params.window or settings.window,
    )


def row_result(
    row: Row, text: Vector | InputError | None, image: Vector | PooledVector | InputError | None
) -> Features | InputError:
    """Return the row's error, else its image's, else its text's, else its features."""
    if row.error is not None:
        return row.error
    if isinstance(image, InputError):
        return image
    if isinstance(text, InputError):
        return text
    if isinstance(image, PooledVector):
        return Features(image=image.vector, text=text, parts=image.parts)
    return Features(image=image, text=text)


def _rows_to_embed(request: ScoreRequest, rows: Sequence[Row], result: Callable[[Row], object]) -> Sequence[Row]:
    valid = [row for row in rows if not isinstance(result(row), InputError)]
    return [] if request.params.on_error == "fail" and len(valid) < len(rows) else valid


def _embed_texts(texts: Collection[str], model: MedImageInsight) -> dict[str | None, Vector | InputError]:
    results: dict[str | None, Vector | InputError] = {}
    for text in texts:
        try:
            clean(text)
        except TextError as error:
            results[text] = error
    valid = [text for text in texts if text not in results]
    return results | dict(zip(valid, model.embed_texts(valid), strict=True)) if valid else results


def _embed_images(
    images: Collection[bytes], model: MedImageInsight, settings: Preprocessing, choice: ImageChoice
) -> dict[bytes | None, Vector | PooledVector | InputError]:
    single = [data for data in images if choice.select is None and not needs_reader(data)]
    embedded = model.embed_images(single, errors="return", frame=choice.frame, preprocessing=settings)
    results: dict[bytes | None, Vector | PooledVector | InputError] = dict(zip(single, embedded, strict=True))
    limits = StudyLimits(images=Limits(), max_images=RequestLimits().max_rows)
    for data in images:
        if data in results:
            continue
        try:
            chosen = choose_images(data, choice, limits)
            vectors = model.embed_images(chosen.images, errors="return", preprocessing=settings)
            results[data] = pool_results(chosen, vectors, choice)
        except InputError as error:
            results[data] = error
    return results
