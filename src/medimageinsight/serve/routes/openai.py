"""OpenAI's embeddings API: texts as strings, images as data URIs or ``{"image": ...}`` objects, or chat messages."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from fastapi import Path

from medimageinsight import schemas
from medimageinsight.errors import InputError, MedImageInsightError, RequestError
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.rows import choose, embed_all
from medimageinsight.serve.routes.samples import PNG, PNG_URI, TEXT
from medimageinsight.serve.routes.state import OpenServer, Server, ServerState
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_params import Params
from medimageinsight.serve.scoring_request import Row, check_rows, make_row
from medimageinsight.serve.vector_encoding import encode_vector

router = new_router("OpenAI", "/v1")

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
# Any other string is a text, also one that begins with "data:".
_IMAGE_URI = re.compile(r"data:([^,\s]*;base64,|image/|application/(dicom|octet-stream)[;,])", re.IGNORECASE)
EXAMPLES = {
    "One text": {"input": TEXT},
    "An image and a text": {"input": [{"image": PNG}, {"text": TEXT}]},
    "A data URI, answered in base64": {"input": [PNG_URI, TEXT], "encoding_format": "base64"},
    "A chat message with an image": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG_URI}}]}]
    },
}


@router.post("/embeddings", responses=body_errors(schemas.OpenAIErrorResponse))
async def create_embeddings(
    server: Server, body: Annotated[schemas.EmbeddingsRequest, examples(EXAMPLES)]
) -> schemas.EmbeddingsResponse:
    """Embed texts and images.

    A string of the form `data:...;base64,...` is an image, any other a text. One bad input fails the request.
    `dimensions` other than the model's own (`dimensions_unsupported`) and lists of token ids are refused. Chat
    messages, as clients of vLLM send them, have an embedding for each image and each text that is not empty, in order.
    `frame` and `window` select what to show of images, as in `params` of `/score`.
    """
    return await embed_request(server, body)


async def embed_request(
    server: ServerState, body: schemas.EmbeddingsRequest, model: str | None = None
) -> schemas.EmbeddingsResponse:
    """Answer a request for embeddings.

    Args:
        server: The server.
        body: The request.
        model: The model's name in the path of the request, which precedes that of the body.

    Raises:
        InputError: An input cannot be used.
        Rejection: The model is unknown, or the server is busy.
    """
    inputs = list(_of_messages(body.messages)) if body.messages else _as_list(body.input)
    if not inputs:
        raise InputError("expected an image or a text that is not empty in the messages, got none", code="row_empty")
    check_rows(len(inputs), server.settings.max_rows)
    allow_urls = server.allow_urls
    size = sum(map(_size, inputs))
    rows = await server.run(size, lambda: [_row(value, body, allow_urls=allow_urls) for value in inputs])
    return await embed_inputs(server, body, rows, model)


async def embed_inputs(
    server: ServerState,
    body: schemas.EmbeddingsRequest | schemas.ImageEmbeddingsRequest,
    rows: Sequence[Row],
    model: str | None = None,
) -> schemas.EmbeddingsResponse:
    """Embed the rows of a request, and count its tokens. Arguments and errors are those of `embed_request`."""
    served = server.models.get(model or body.model or None)
    if body.dimensions not in (None, served.model.embedding_dim):
        raise RequestError(
            f"expected 'dimensions' to be {served.model.embedding_dim}, the model's own, or absent, got another "
            "number: these embeddings cannot be shortened",
            code="dimensions_unsupported",
        )
    settings = scoring_preprocessing(Params(), served.model, server.settings.preprocessing)
    names = [f"input {index}, counted from 0" for index in range(len(rows))]
    vectors = await embed_all(served, rows, settings, names)
    texts = [row.text for row in rows if row.text]
    tokens = sum(map(len, await asyncio.to_thread(served.model.tokenizer.encode, texts)))  # a text's repair takes time
    return schemas.EmbeddingsResponse(
        data=[
            schemas.Embedding(
                object="embedding",
                index=index,
                embedding=encode_vector(vector, body.encoding_format),
            )
            for index, vector in enumerate(vectors)
        ],
        model=served.name,
        usage=schemas.Usage(prompt_tokens=tokens, total_tokens=tokens),
    )


@router.get("/models", responses=errors(503, form=schemas.OpenAIErrorResponse))
async def list_models(server: OpenServer) -> schemas.OpenAIModelList:
    """List the models."""
    return schemas.OpenAIModelList(data=[_model(served) for served in server.models.all()])


@router.get("/models/{model}", responses=errors(404, 503, form=schemas.OpenAIErrorResponse))
async def get_model(
    server: Server, model: Annotated[schemas.ModelName, Path(description="Its name.")]
) -> schemas.OpenAIModel:
    """Return a model."""
    return _model(server.models.get(model))


def error_body(error: MedImageInsightError, status: int) -> schemas.OpenAIErrorResponse:
    """Return an error in the API's form."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return schemas.OpenAIErrorResponse(
        error=schemas.OpenAIErrorDetail(message=error.message, type=kind, param=None, code=error.code)
    )


_Input = schemas.EmbeddingsInput | tuple[Literal["image", "text"], str]


def _as_list(value: schemas.EmbeddingsInput | list[schemas.EmbeddingsInput] | None) -> list[_Input]:
    inputs = value if isinstance(value, list) else [value]
    return [item for item in inputs if item is not None]


def _of_messages(messages: Iterable[schemas.ChatMessage]) -> Iterable[_Input]:
    """Yield the images and the texts of chat messages, empty texts left out."""
    for message in messages:
        parts = [message.content] if isinstance(message.content, str) else message.content
        for part in parts:
            if isinstance(part, schemas.ImagePart):
                yield "image", part.image_url.url
            elif text := part if isinstance(part, str) else part.text:
                yield "text", text


def _size(value: _Input) -> int:
    """Return the characters of an input, most of them base64 to decode."""
    match value:
        case schemas.ImageInput(image=content) | schemas.TextInput(text=content) | (_, content):
            return len(content)
    return len(value)


def _row(value: _Input, body: schemas.EmbeddingsRequest, *, allow_urls: bool) -> Row:
    match value:
        case schemas.ImageInput(image=image) | ("image", image):
            return make_row(image, None, choose(frame=body.frame, window=body.window), allow_urls=allow_urls)
        case schemas.TextInput(text=text) | ("text", text):
            return make_row(None, text)
    if _IMAGE_URI.match(value):
        return make_row(value, None, choose(frame=body.frame, window=body.window))
    return make_row(None, value)


def _model(served: ServedModel) -> schemas.OpenAIModel:
    return schemas.OpenAIModel(id=served.name)
