"""The Open Inference Protocol, version 2: tensors ``image`` and ``text`` in, their embeddings out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response

from medimageinsight.errors import InputError, RequestError
from medimageinsight.serve.contract import Row, check_rows, make_row
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.params import Params, parse_params
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.rejection import Refused

router = APIRouter(prefix="/v2", include_in_schema=False)
OUTPUTS = {"image": "image_embeddings", "text": "text_embeddings"}


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """What one request asks for."""

    rows: dict[str, list[Row]]  # by input name
    outputs: tuple[str, ...]
    params: Params
    request_id: str | None


@router.get("")
async def server_metadata() -> Response:
    """The server's name and version."""
    return json_response({"name": "medimageinsight", "version": __version__, "extensions": []})


@router.get("/models/{model}")
async def model_metadata(request: Request, model: str) -> Response:
    """The tensors of a model."""
    served = state_of(request).models.get(model)
    return json_response(
        {
            "name": served.name,
            "versions": [],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in OUTPUTS],
            "outputs": [
                {"name": name, "datatype": "FP32", "shape": [-1, served.model.embedding_dim]}
                for name in OUTPUTS.values()
            ],
        }
    )


@router.post("/models/{model}/infer")
async def infer(request: Request, model: str) -> Response:
    """The embeddings of each tensor; one bad element fails the request, since a tensor has no place for an error."""
    server = state_of(request)
    served = server.models.get(model)
    with server.bodies.room() as room:
        body = await server.bodies.read(request, room)
        return await unless_gone(request, _infer(server, served, body))


def error_body(error: InputError | Refused) -> dict[str, Any]:
    """The protocol's form of an error."""
    return {"error": f"{error.code}: {error.message}"}


async def _infer(server: ServerState, served: ServedModel, body: bytes) -> Response:
    asked = await server.parse(body, lambda content: _read(server, content))
    settings = scoring_preprocessing(asked.params, served.model, server.settings.preprocessing)
    results = iter(await served.embed_rows([row for rows in asked.rows.values() for row in rows], settings))
    tensors = []
    for name, rows in asked.rows.items():
        vectors = [_vector(name, index, next(results)) for index in range(len(rows))]
        if OUTPUTS[name] in asked.outputs:
            tensors.append(_tensor(OUTPUTS[name], vectors, served.model.embedding_dim))
    answer: dict[str, Any] = {"model_name": served.name, "outputs": tensors}
    if asked.request_id is not None:
        answer["id"] = asked.request_id
    return json_response(answer)


def _vector(name: str, index: int, result: object) -> NDArray[np.float32]:
    if isinstance(result, InputError):
        raise type(result)(f"{name}[{index}]: {result.message}", code=result.code)
    vector: NDArray[np.float32] = getattr(result, name)
    return vector


def _tensor(name: str, vectors: Sequence[NDArray[np.float32]], width: int) -> dict[str, Any]:
    values = np.concatenate(vectors) if vectors else np.empty(0, np.float32)
    return {"name": name, "datatype": "FP32", "shape": [len(vectors), width], "data": values}


def _read(server: ServerState, content: object) -> InferRequest:
    if not isinstance(content, Mapping) or not isinstance(content.get("inputs"), list):
        raise _invalid("a JSON object with a list of tensors as 'inputs'")
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _invalid("'id' to be a string")
    rows: dict[str, list[Row]] = {}
    for tensor in content["inputs"]:
        name, cells = _cells(tensor)
        if name in rows:
            raise _invalid("each input once")
        check_rows(sum(map(len, rows.values())) + len(cells), server.settings.max_rows)
        rows[name] = [_row(name, cell, allow_urls=bool(server.settings.url_hosts)) for cell in cells]
    if not rows:
        raise _invalid("at least one input, 'image' or 'text'")
    return InferRequest(
        rows=rows,
        outputs=_outputs(content.get("outputs"), [OUTPUTS[name] for name in rows]),
        params=parse_params(content.get("parameters")),
        request_id=request_id,
    )


def _cells(tensor: object) -> tuple[str, list[Any]]:
    name = tensor.get("name") if isinstance(tensor, Mapping) else None
    if not isinstance(tensor, Mapping) or not isinstance(name, str) or name not in OUTPUTS:
        raise _invalid("tensors named 'image' or 'text'")
    if tensor.get("datatype") != "BYTES":
        raise _invalid("tensors of datatype BYTES, with base64 or data: URIs for images")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(data, list) or not isinstance(shape, list) or len(shape) not in (1, 2):
        raise _invalid("tensors with 'data' as a list and 'shape' as [N] or [N, 1]")
    if not all(type(size) is int and size >= 0 for size in shape) or (len(shape) == 2 and shape[1] != 1):
        raise _invalid("tensors with 'shape' as [N] or [N, 1]")
    cells = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    if len(cells) != math.prod(shape):
        raise _invalid("as many elements in 'data' as 'shape' says")
    return name, cells


def _row(name: str, cell: object, *, allow_urls: bool) -> Row:
    if not isinstance(cell, str) or not cell:
        raise _invalid("elements that are strings and not empty")
    return make_row(cell if name == "image" else None, cell if name == "text" else None, allow_urls=allow_urls)


def _outputs(given: object, possible: list[str]) -> tuple[str, ...]:
    if given is None:
        return tuple(possible)
    asked = given if isinstance(given, list) else []
    names = tuple(name for name in possible if {"name": name} in [_named(one) for one in asked])
    if not names or len(names) < len(asked):
        raise _invalid(f"'outputs' to name some of {', '.join(possible)}, each once")
    return names


def _named(output: object) -> dict[str, object]:
    return {"name": output.get("name")} if isinstance(output, Mapping) else {}


def _invalid(expected: str) -> RequestError:
    return RequestError(f"expected {expected}", code="request_invalid")
