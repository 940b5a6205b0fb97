"""Files as they are: an image or a DICOM file as the body, or several with texts in a form."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response

from medimageinsight import schemas
from medimageinsight.errors import ImageError, InputError, TextError
from medimageinsight.preprocess import Steps
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.image_choice import ImageChoice
from medimageinsight.serve.multipart import FormData, FormReader, boundary_of
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes.route import body_errors, new_router
from medimageinsight.serve.routes.rows import choose, describe_part
from medimageinsight.serve.routes.state import Server, ServerState
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_params import Params
from medimageinsight.serve.scoring_request import Row
from medimageinsight.serve.scoring_response import Features

router = new_router("Search and tasks", "/api")

FORM = "multipart/form-data"
_BINARY = ("application/dicom", "application/octet-stream")
_WINDOW = "What to show of images of more than 8 bits, as '40/400', 'lung', '1%-99%' or an index; default: the file's."
_SELECT = "Which images of a file with several are embedded and pooled, as 'all', 'even:16' or 'frames:0,5,10-19'."
_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "file": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "Image files; a part with a file name may have any name.",
        },
        "text": {"type": "array", "items": {"type": "string"}, "description": "Texts to embed."},
        **{
            name: {"type": "string", "description": "As the parameter of the query, before which it has precedence."}
            for name in ("model", "frame", "window", "select", "pooling", "preprocessing")
        },
    },
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {**dict.fromkeys(("image/*", *_BINARY), _FILE), FORM: {"schema": _FORM}},
    }
}


@router.post("/embed", response_model=schemas.EmbedResponse, responses=body_errors(), openapi_extra=_BODY)
async def embed(
    request: Request,
    server: Server,
    model: Annotated[str | None, Query(description="Another model than the first.")] = None,
    frame: Annotated[str | None, Query(description="Which frame of multi-frame files, from 0.")] = None,
    window: Annotated[str | None, Query(description=_WINDOW)] = None,
    select: Annotated[str | None, Query(description=_SELECT)] = None,
    pooling: Annotated[str | None, Query(description="With select: mean (the default), median or max.")] = None,
    preprocessing: Annotated[Steps | None, Query(description="Default: the server's.")] = None,
) -> Response:
    """Embed uploaded files, and texts with them.

    The body is one file, of any format whatever `image/...` states, or a form with several files and texts. Results
    have the order of the parts; a file that cannot be used has an error as its result, unless it is the only one.
    """
    server.models.check_open()
    query = {
        "model": model, "frame": frame, "window": window, "select": select, "pooling": pooling,
        "preprocessing": preprocessing,
    }  # fmt: skip
    media_type = _media_type(request)
    reader = None
    if media_type == FORM:
        boundary = boundary_of(request.headers["content-type"])
        reader = FormReader(boundary, max_rows=server.settings.max_rows)
    async with server.bodies.read(
        request, check_type=_check_type, consume=None if reader is None else reader.write
    ) as body:
        form = FormData(inputs=[body]) if reader is None else reader.finish()
        return json_response(await unless_gone(request, _embed(server, form, {**query, **form.params})))


async def _embed(server: ServerState, form: FormData, texts: Mapping[str, str | None]) -> schemas.EmbedResponse:
    given = {name: value for name, value in texts.items() if value}
    frame = {"frame": _number(given["frame"])} if "frame" in given else {}
    params = schemas.validate(schemas.EmbedParams, {**given, **frame})
    served = server.models.get(params.model)
    if not form.inputs:
        raise InputError("expected files or texts, got none", code="row_empty")
    choice = choose(frame=params.frame, window=params.window, select=params.select, pooling=params.pooling)
    rows = [_row(value, choice) for value in form.inputs]
    settings = scoring_preprocessing(
        Params(preprocessing=params.preprocessing), served.model, server.settings.preprocessing
    )
    embedded = await served.embed_rows(rows, settings)
    if len(embedded) == 1 and isinstance(embedded[0], InputError):
        raise embedded[0]
    return schemas.EmbedResponse(
        model=served.name,
        results=[
            schemas.ErrorResponse.of(result) if isinstance(result, InputError) else _result(result)
            for result in embedded
        ],
    )


def _result(features: Features) -> schemas.EmbedResult:
    parts = [
        schemas.EmbeddedPart(
            **describe_part(part), embedding=None if isinstance(part.result, InputError) else part.result
        )
        for part in features.parts
    ]
    return schemas.EmbedResult(embedding=features.vector, images=parts or None)


def _row(value: bytes | str | TextError, choice: ImageChoice) -> Row:
    if isinstance(value, TextError):
        return Row(error=value)
    if isinstance(value, str):
        return Row(text=value) if value else Row(error=InputError("expected a text, got none", code="row_empty"))
    if not value:
        return Row(error=ImageError("expected an image, got an empty file", code="image_empty"))
    return Row(image=value, choice=choice)


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_type(request: Request) -> None:
    media_type = _media_type(request)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    known = media_type in (*_BINARY, FORM) or media_type.startswith("image/")
    if not known or encoding not in ("identity", ""):
        got = "a compressed body" if known else "another type" if media_type else "no type"
        raise Rejection(
            415,
            f"expected Content-Type: image/..., application/dicom, application/octet-stream or {FORM}, got {got}",
            code="content_type_unsupported",
        )
