"""Embeddings under the paths of Azure's clients: the Azure AI Model Inference API and Azure OpenAI's deployments."""

from typing import Annotated, Any

from fastapi import Path

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.serve.routes.openai import EXAMPLES, embed_inputs, embed_request
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.rows import choose
from medimageinsight.serve.routes.samples import PNG_URI
from medimageinsight.serve.routes.state import OpenServer, Server
from medimageinsight.serve.scoring_request import Row, check_rows, make_row

router = new_router("Azure")

PREFIXES = ("/embeddings", "/images/embeddings", "/info", "/openai/")
_ERRORS = body_errors(schemas.OpenAIErrorResponse)
_EXTRA: dict[str, Any] = {
    "parameters": [
        {
            "name": "extra-parameters",
            "in": "header",
            "description": "`error` refuses unknown members of the body (`request_invalid`); by default, as with "
            "`drop` and `pass-through`, they are ignored.",
            "schema": {"type": "string"},
        }
    ]
}
_Embeddings = Annotated[schemas.EmbeddingsRequest, examples(EXAMPLES)]


@router.post("/embeddings", responses=_ERRORS, openapi_extra=_EXTRA)
async def create_model_embeddings(server: Server, body: _Embeddings) -> schemas.EmbeddingsResponse:
    """Embed texts and images, as `/v1/embeddings`."""
    return await embed_request(server, body)


@router.post("/openai/deployments/{model}/embeddings", responses=_ERRORS)
async def create_deployment_embeddings(
    server: Server,
    body: Annotated[schemas.DeploymentEmbeddingsRequest, examples(EXAMPLES)],
    model: Annotated[schemas.ModelName, Path(description="Its name.")],
) -> schemas.EmbeddingsResponse:
    """Embed texts and images with a model, as `/v1/embeddings`; `model` in the body is ignored."""
    return await embed_request(server, body, model)


@router.post("/images/embeddings", responses=_ERRORS, openapi_extra=_EXTRA)
@router.post("/v1/images/embeddings", responses=_ERRORS, openapi_extra=_EXTRA, operation_id="createV1ImageEmbeddings")
async def create_image_embeddings(
    server: Server,
    body: Annotated[
        schemas.ImageEmbeddingsRequest,
        examples(
            {
                "An image": {"input": [{"image": PNG_URI}]},
                "Answered in base64": {"input": [{"image": PNG_URI}], "encoding_format": "base64"},
            }
        ),
    ],
) -> schemas.EmbeddingsResponse:
    """Embed images.

    One bad image fails the request. A text with an image is refused (`text_with_image`): images and texts have
    separate embeddings, those of texts at `/embeddings`.
    """
    check_rows(len(body.input), server.settings.max_rows)
    allow_urls = server.allow_urls
    size = sum(len(item.image) for item in body.input)
    rows = await server.run(size, lambda: [_image(item, body, allow_urls=allow_urls) for item in body.input])
    return await embed_inputs(server, body, rows)


@router.get("/info", responses=errors(503, form=schemas.OpenAIErrorResponse))
async def get_model_info(server: OpenServer) -> schemas.ModelInfo:
    """Return the name and the kind of the first model."""
    return schemas.ModelInfo(model_name=server.models.get().name)


def _image(item: schemas.ImageEmbeddingsInput, body: schemas.ImageEmbeddingsRequest, *, allow_urls: bool) -> Row:
    if item.text:
        raise InputError(
            "expected an image without a text, got both: the model embeds them separately, see /embeddings",
            code="text_with_image",
        )
    return make_row(item.image, None, choose(frame=body.frame, window=body.window), allow_urls=allow_urls)
