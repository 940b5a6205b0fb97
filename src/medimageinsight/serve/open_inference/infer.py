"""Inference of the Open Inference Protocol: the tensors of a request as rows, their embeddings as tensors."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight import schemas
from medimageinsight.errors import InputError, RequestError, TextError
from medimageinsight.serve.image_choice import ImageChoice
from medimageinsight.serve.open_inference.statistics import VERSION
from medimageinsight.serve.open_inference.tensors import decode_image
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes.rows import embed_all
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_params import parse_params
from medimageinsight.serve.scoring_request import Row, check_rows, make_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.routes.state import ServerState
    from medimageinsight.serve.scoring_params import Params


def find_model(server: ServerState, name: str, version: str = "") -> ServedModel:
    """Return a model.

    Args:
        server: The server.
        name: The model's name.
        version: Its version; an empty string is the only one.

    Raises:
        Rejection: 404 for an unknown name or version, 503 while models load or the server drains.
    """
    served = server.models.get(name)
    if version not in ("", VERSION):
        raise Rejection(
            404,
            f"expected version {VERSION} of the model, its only one, got another: leave it out",
            code="model_version_not_found",
        )
    return served


async def infer(server: ServerState, body: schemas.InferRequest, model: str) -> schemas.InferResponse:
    """Embed tensors of images and texts.

    Raises:
        InputError: An element cannot be used; its tensor's name and its index precede the message.
        Rejection: The model is unknown or not open, or the queue is full.
    """
    served = server.models.get(model)
    check_rows(sum(len(tensor.data) for tensor in body.inputs), server.settings.max_rows)
    params = _parse_params(body.parameters)
    settings = scoring_preprocessing(params, served.model, server.settings.preprocessing)
    rows, names = [], []
    for tensor in body.inputs:
        for index, cell in enumerate(tensor.cells):
            name = f"{tensor.name}[{index}]"
            with _named(name):
                rows.append(_row(tensor.name, cell, params, allow_urls=server.allow_urls))
            names.append(name)
    vectors = iter(await embed_all(served, rows, settings, names))
    started = time.monotonic()
    requested = {output.name for output in body.outputs or ()}
    tensors: list[schemas.OutputTensor | schemas.BinaryOutputTensor] = []
    for tensor in body.inputs:
        values = [next(vectors) for _ in tensor.data]
        if not requested or tensor.output_name in requested:
            tensors.append(
                schemas.OutputTensor(
                    name=tensor.output_name,
                    shape=[len(values), served.model.embedding_dim],
                    data=np.concatenate(values) if values else np.empty(0, np.float32),
                )
            )
    served.statistics.add("compute_output", time.monotonic() - started)
    return schemas.InferResponse(model_name=served.name, model_version=VERSION, id=body.id, outputs=tensors)


def _parse_params(parameters: Any) -> Params:  # noqa: ANN401 - any JSON value
    if isinstance(parameters, Mapping) and not isinstance(parameters.get("binary_data_output"), bool | None):
        raise RequestError("parameters.binary_data_output: expected true or false", code="params_invalid")
    params = parse_params(parameters)
    if params.encoding_format != "float":
        raise RequestError(
            "parameters.encoding_format: expected none, got one: ask for binary tensors instead", code="params_invalid"
        )
    return params


def _row(tensor: str, cell: str | bytes, params: Params, *, allow_urls: bool) -> Row:
    if tensor == "text":
        return make_row(None, _decode_text(cell))
    image = decode_image(cell) if isinstance(cell, bytes) else cell
    if isinstance(image, bytes):
        return Row(image=image, choice=ImageChoice(frame=params.frame))
    return make_row(image, None, ImageChoice(frame=params.frame), allow_urls=allow_urls)


def _decode_text(cell: str | bytes) -> str:
    try:
        return cell if isinstance(cell, str) else cell.decode()
    except UnicodeDecodeError:
        raise TextError("expected a text in UTF-8, got other bytes", code="text_not_unicode") from None


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let the message of an error of the block begin with a name."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error.message}", code=error.code) from None
