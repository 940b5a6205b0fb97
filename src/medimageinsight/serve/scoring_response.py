"""Format scoring responses: features and errors of rows, to a status and JSON in one of the two published shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import InputError, RequestError
from medimageinsight.serve.label_scores import to_label_results
from medimageinsight.serve.vector_encoding import encode_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.serve.label_scores import LabelVectors
    from medimageinsight.serve.scoring_params import ResponseShape
    from medimageinsight.serve.scoring_request import ScoreRequest
    from medimageinsight.serve.studies import EmbeddedPart
    from medimageinsight.serve.vector_encoding import VectorEncoding

Json: TypeAlias = dict[str, Any]

# Not 429 or 5xx, which clients retry: the same request would fail again.
_STATUS = {"request_too_large": 413, "request_too_many_rows": 413}


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The embeddings of one row, (D,) float32 each; None for a missing cell.

    `parts` are the images whose vectors were pooled, where that of the image is.
    """

    image: NDArray[np.float32] | None = None
    text: NDArray[np.float32] | None = None
    parts: tuple[EmbeddedPart, ...] = ()

    @property
    def vector(self) -> NDArray[np.float32]:
        """The embedding of the image, else of the text; a row has at least one."""
        vector = self.text if self.image is None else self.image
        assert vector is not None  # noqa: S101 - a row without cells is refused
        return vector


@dataclass(frozen=True, kw_only=True)
class ScoringResponse:
    """An HTTP status and the JSON value of its body: a list, or an object ``{"error": ...}``.

    Embeddings in the body are arrays (D,) float32, or base64 where the request asks for it.
    """

    status: int
    body: list[Any] | Json


def answer_request(
    request: ScoreRequest,
    results: Sequence[Features | InputError],
    *,
    logit_scale: float,
    response_shape: ResponseShape = "auto",
    labels: LabelVectors | None = None,
) -> ScoringResponse:
    """Format the results of a request.

    ``rows`` is one object per row. ``card`` is an object for all images, one for all texts and one for the scaling
    factor; its lists have null for a missing cell and the error of a bad row. If no row succeeded, the response has
    the shape ``rows``. ``labels`` is a list of ``{"label", "score"}`` per row, see `LabelVectors`.

    Args:
        request: The request.
        results: The features or the error of each row, in order.
        logit_scale: The model's logit scale.
        response_shape: Default of the request's ``response_shape``: ``rows``, ``card``, or ``auto``, which is ``card``
            for the sample of the hosted model's card and ``rows`` for all other requests.
        labels: The model's labels, needed where `shape_of` is ``labels``.
    """
    shape = shape_of(request, response_shape)
    if shape == "labels":
        results = to_label_results(results)
    failures = [(index, result) for index, result in enumerate(results) if isinstance(result, InputError)]
    if failures and (request.params.on_error == "fail" or len(results) == 1):
        return refuse(_located(*failures[0]) if len(results) > 1 else failures[0][1])
    if labels is not None and shape == "labels":
        return ScoringResponse(status=200, body=[_scores(result, labels, logit_scale) for result in results])
    scaling_factor = {"scaling_factor": logit_scale} if request.params.get_scaling_factor else {}
    encoding = request.params.encoding_format
    if shape == "card" and len(failures) < len(results):
        return ScoringResponse(status=200, body=_card(results, scaling_factor, encoding))
    return ScoringResponse(status=200, body=[_row(result, scaling_factor, encoding) for result in results])


def shape_of(request: ScoreRequest, response_shape: ResponseShape) -> ResponseShape:
    """Return the shape of the response to a request, never ``auto``, for the default shape."""
    shape = request.params.response_shape or response_shape
    if shape == "auto":
        return "card" if request.is_card_sample else "rows"
    return shape


def refuse(error: InputError) -> ScoringResponse:
    """Return the response of a request that failed as a whole: 400 for its form, 413 for its size, 422 for a cell."""
    return ScoringResponse(status=status_of(error), body=_error(error))


def status_of(error: InputError) -> int:
    """Return the status of a request that failed with an error."""
    return _STATUS.get(error.code, 400 if isinstance(error, RequestError) else 422)


def to_json(response: ScoringResponse) -> bytes:
    """Encode the body as UTF-8 JSON. Its numbers, read as float32, have the same bits as the embeddings."""
    return json.dumps(
        response.body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_numbers
    ).encode()


def _row(result: Features | InputError, scaling_factor: Json, encoding: VectorEncoding) -> Json:
    if isinstance(result, InputError):
        return _error(result)
    row: Json = {}
    if result.image is not None:
        # Nested, unlike a text's, as in the hosted endpoint.
        row["image_features"] = [encode_vector(result.image, encoding)]
    if result.text is not None:
        row["text_features"] = encode_vector(result.text, encoding)
    return row | scaling_factor


def _scores(result: Features | InputError, labels: LabelVectors, logit_scale: float) -> list[Json] | Json:
    if isinstance(result, InputError) or result.image is None:
        return _error(result) if isinstance(result, InputError) else {}
    return labels.scores(result.image, logit_scale)


def _card(results: Sequence[Features | InputError], scaling_factor: Json, encoding: VectorEncoding) -> list[Json]:
    images = [result if isinstance(result, InputError) else result.image for result in results]
    texts = [result if isinstance(result, InputError) else result.text for result in results]
    lists = {"image_features": images, "text_features": texts}
    body: list[Json] = [
        {key: [_card_cell(cell, encoding) for cell in cells]}
        for key, cells in lists.items()
        if any(cell is not None and not isinstance(cell, InputError) for cell in cells)
    ]
    return [*body, scaling_factor] if scaling_factor else body


def _card_cell(
    cell: NDArray[np.float32] | InputError | None, encoding: VectorEncoding
) -> NDArray[np.float32] | Json | str | None:
    if cell is None or isinstance(cell, InputError):
        return None if cell is None else _error(cell)
    return encode_vector(cell, encoding)


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    """Round to 9 significant digits, which identify every float32."""
    return [float(f"{value:.9g}") for value in vector.tolist()]


def _error(error: InputError) -> Json:
    return {"error": error.to_dict()}


def _located(index: int, error: InputError) -> InputError:
    return type(error)(f"row {index}, counted from 0: {error.message}", code=error.code)
