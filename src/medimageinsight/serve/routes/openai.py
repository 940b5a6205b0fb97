"""OpenAI's embeddings API: texts as strings, images as data URIs or ``{"image": ...}`` objects."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from medimageinsight.errors import InputError, RequestError
from medimageinsight.images import is_data_uri
from medimageinsight.serve.contract import Row, check_rows, make_row
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.params import Params
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.serve.scoring import scoring_preprocessing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.rejection import Refused

router = APIRouter(prefix="/v1", include_in_schema=False)
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


@dataclass(frozen=True, kw_only=True)
class EmbeddingsRequest:
    """What one request asks for."""

    rows: tuple[Row, ...]
    model: str | None
    as_base64: bool


@router.post("/embeddings")
async def embeddings(request: Request) -> Response:
    """One embedding for each input, in order; one bad input fails the request, as the API knows no other way."""
    server = state_of(request)
    server.models.check_open()
    with server.bodies.room() as room:
        body = await server.bodies.read(request, room)
        return await unless_gone(request, _embed(server, body))


@router.get("/models")
async def models(request: Request) -> Response:
    """The models of this server."""
    server = state_of(request)
    server.models.check_open()
    return json_response({"object": "list", "data": [_model(served) for served in server.models.all()]})


@router.get("/models/{model}")
async def model(request: Request, model: str) -> Response:
    """One model."""
    return json_response(_model(state_of(request).models.get(model)))


def error_body(error: InputError | Refused, status: int) -> dict[str, Any]:
    """The API's form of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}


async def _embed(server: ServerState, body: bytes) -> Response:
    asked = await server.parse(body, lambda content: _read(server, content))
    served = server.models.get(asked.model)
    settings = scoring_preprocessing(Params(), served.model, server.settings.preprocessing)
    results = await served.embed_rows(asked.rows, settings)
    vectors = []
    for index, result in enumerate(results):
        if isinstance(result, InputError):
            raise type(result)(f"input {index}, counted from 0: {result.message}", code=result.code)
        vectors.append(result.image if result.image is not None else result.text)
    texts = [row.text for row in asked.rows if row.text]
    tokens = sum(map(len, await asyncio.to_thread(served.model.tokenizer.encode, texts)))  # a text's repair takes time
    return json_response(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _encode(vector, as_base64=asked.as_base64)}
                for index, vector in enumerate(vectors)
            ],
            "model": served.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _read(server: ServerState, content: object) -> EmbeddingsRequest:
    if not isinstance(content, Mapping):
        raise _invalid("a JSON object with the key 'input'")
    if content.get("dimensions") is not None:
        raise RequestError(
            "expected no 'dimensions', got some: these embeddings cannot be shortened", code="dimensions_unsupported"
        )
    form = content.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise _invalid("'encoding_format' to be float or base64")
    name = content.get("model")
    if name is not None and not isinstance(name, str):
        raise _invalid("'model' to be a string")
    given = content.get("input")
    inputs = given if isinstance(given, list) else [given]
    if not inputs:
        raise _invalid("at least one input")
    check_rows(len(inputs), server.settings.max_rows)
    allow_urls = bool(server.settings.url_hosts)
    return EmbeddingsRequest(
        rows=tuple(_row(one, allow_urls=allow_urls) for one in inputs), model=name or None, as_base64=form == "base64"
    )


def _row(given: object, *, allow_urls: bool) -> Row:
    image, text = _cells(given)
    if image in (None, "") and text in (None, ""):
        raise _invalid("an input that is not empty")
    return make_row(image, text, allow_urls=allow_urls)


def _cells(given: object) -> tuple[object, object]:
    if isinstance(given, str):
        return (given, None) if is_data_uri(given) else (None, given)
    if isinstance(given, Mapping) and len(given) == 1:
        if "image" in given:
            return given["image"], None
        if "text" in given:
            return None, given["text"]
    raise _invalid(
        'inputs that are texts, data: URIs, {"image": ...} or {"text": ...}; lists of token ids are not read'
    )


def _encode(vector: NDArray[np.float32] | None, *, as_base64: bool) -> object:
    if as_base64 and vector is not None:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector


def _model(served: ServedModel) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": 0, "owned_by": "medimageinsight"}


def _invalid(expected: str) -> RequestError:
    return RequestError(f"expected {expected}", code="request_invalid")
