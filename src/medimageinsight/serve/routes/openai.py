"""OpenAI's embeddings API: texts as strings, images as data URIs or ``{"image": ...}`` objects."""

import asyncio
import base64
from typing import Annotated

from fastapi import Path

from medimageinsight import schemas
from medimageinsight.errors import MedImageInsightError
from medimageinsight.images import is_data_uri
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.rows import embed_all
from medimageinsight.serve.routes.samples import PNG, PNG_URI, TEXT
from medimageinsight.serve.routes.state import OpenServer, Server
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_params import Params
from medimageinsight.serve.scoring_request import Row, check_rows, make_row

router = new_router("OpenAI", "/v1")

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


@router.post("/embeddings", responses=body_errors(schemas.OpenAIErrorResponse))
async def create_embeddings(
    server: Server,
    body: Annotated[
        schemas.EmbeddingsRequest,
        examples(
            {
                "One text": {"input": TEXT},
                "An image and a text": {"input": [{"image": PNG}, {"text": TEXT}]},
                "A data URI, answered in base64": {"input": [PNG_URI, TEXT], "encoding_format": "base64"},
            }
        ),
    ],
) -> schemas.EmbeddingsResponse:
    """Embed texts and images.

    A string that begins with `data:` is an image, any other a text. One bad input fails the request. `dimensions`
    (`dimensions_unsupported`) and lists of token ids are refused.
    """
    inputs = body.input if isinstance(body.input, list) else [body.input]
    check_rows(len(inputs), server.settings.max_rows)
    rows = [_row(value, allow_urls=server.allow_urls) for value in inputs]
    served = server.models.get(body.model or None)
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
                embedding=vector
                if body.encoding_format == "float"
                else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
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


def _row(value: schemas.EmbeddingsInput, *, allow_urls: bool) -> Row:
    match value:
        case schemas.ImageInput():
            return make_row(value.image, None, allow_urls=allow_urls)
        case schemas.TextInput():
            return make_row(None, value.text)
    return make_row(value, None) if is_data_uri(value) else make_row(None, value)


def _model(served: ServedModel) -> schemas.OpenAIModel:
    return schemas.OpenAIModel(id=served.name)
