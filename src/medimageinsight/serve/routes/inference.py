"""The Open Inference Protocol, version 2: tensors ``image`` and ``text`` in, their embeddings out."""

from typing import Annotated, Any

from fastapi import Path, Response

from medimageinsight import schemas
from medimageinsight.errors import MedImageInsightError
from medimageinsight.serve.http import json_response
from medimageinsight.serve.open_inference.infer import infer as embed_tensors
from medimageinsight.serve.open_inference.metadata import describe_config, describe_model, describe_server
from medimageinsight.serve.open_inference.statistics import VERSION
from medimageinsight.serve.routes.infer_route import InferRoute
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.samples import OTHER_TEXT, PNG, TEXT
from medimageinsight.serve.routes.state import OpenServer, Server

router = new_router("Open Inference Protocol", "/v2", InferRoute)

Model = Annotated[schemas.ModelName, Path(description="Its name.")]

_MODEL = "/models/{model}"
_VERSION = _MODEL + "/versions/{version}"  # the same routes; a description of each would be longer, not clearer
_NOT_FOUND = errors(404, 503, form=schemas.InferErrorResponse)
_BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_EXAMPLES = {
    "One text": {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}]},
    "An image and two texts": {
        "id": "7",
        "parameters": {"preprocessing": "direct"},
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": [[PNG]]},
            {"name": "text", "datatype": "BYTES", "shape": [2], "data": [TEXT, OTHER_TEXT]},
        ],
        "outputs": [{"name": "image_embeddings"}, {"name": "text_embeddings"}],
    },
}


@router.get("")
async def server_metadata() -> schemas.ServerMetadata:
    """Return the server's name, version and extensions."""
    return describe_server()


@router.get("/models/stats", responses=errors(503, form=schemas.InferErrorResponse))
async def all_statistics(server: OpenServer) -> schemas.ModelStatisticsResponse:
    """Return the statistics of every model.

    They are of the process that answers, from its start.
    """
    return schemas.ModelStatisticsResponse(
        model_stats=[served.statistics.read(served.name) for served in server.models.all()]
    )


@router.get(f"{_VERSION}/stats", include_in_schema=False)
@router.get(f"{_MODEL}/stats", responses=_NOT_FOUND)
async def model_statistics(server: Server, model: Model) -> schemas.ModelStatisticsResponse:
    """Return the statistics of a model.

    They are of the process that answers, from its start.
    """
    served = server.models.get(model)
    return schemas.ModelStatisticsResponse(model_stats=[served.statistics.read(served.name)])


@router.get(f"{_VERSION}/config", include_in_schema=False)
@router.get(f"{_MODEL}/config", responses=_NOT_FOUND)
async def model_config(server: Server, model: Model) -> schemas.ModelConfig:
    """Return a model's tensors, in the form of Triton's configuration."""
    return describe_config(server.models.get(model))


@router.get(_VERSION, include_in_schema=False)
@router.get(_MODEL, responses=_NOT_FOUND)
async def model_metadata(server: Server, model: Model) -> schemas.ModelMetadata:
    """Return a model's tensors.

    Its only version is 1; this and the routes below it are also at `/v2/models/{model}/versions/1`.
    """
    return describe_model(server.models.get(model))


@router.post("/repository/index", include_in_schema=False)
async def repository_index(server: OpenServer) -> Response:
    """Return the names and versions of the models, as Triton's clients ask."""
    index = [{"name": served.name, "version": VERSION, "state": "READY"} for served in server.models.all()]
    return json_response(index)


@router.post(f"{_VERSION}/infer", include_in_schema=False)
@router.post(
    f"{_MODEL}/infer",
    responses=body_errors(schemas.InferErrorResponse) | {200: {"content": _BINARY}},
    openapi_extra={"requestBody": {"content": _BINARY}},
)
async def infer(
    server: Server, body: Annotated[schemas.InferRequest, examples(_EXAMPLES)], model: Model
) -> schemas.InferResponse:
    """Embed tensors of images and texts.

    Images are base64 or data: URIs; in binary tensors, image files too. One bad element fails the request, since a
    tensor cannot hold an error. Bodies may be compressed with gzip or deflate. With the header
    `Inference-Header-Content-Length`, binary tensors follow the JSON, in requests and responses.
    """
    return await embed_tensors(server, body, model)


def error_body(error: MedImageInsightError) -> schemas.InferErrorResponse:
    """Return an error in the protocol's form."""
    return schemas.InferErrorResponse(error=f"{error.code}: {error.message}")
