"""The Open Inference Protocol, version 2: tensors ``image`` and ``text`` in, their embeddings out."""

from typing import Annotated

import numpy as np
from fastapi import Path

from medimageinsight import schemas
from medimageinsight.errors import MedImageInsightError
from medimageinsight.serve.routes.route import body_errors, errors, examples, new_router
from medimageinsight.serve.routes.rows import embed_all
from medimageinsight.serve.routes.samples import OTHER_TEXT, PNG, TEXT
from medimageinsight.serve.routes.state import Server
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_params import parse_params
from medimageinsight.serve.scoring_request import check_rows, make_row
from medimageinsight.version import __version__

router = new_router("Open Inference Protocol", "/v2")

Model = Annotated[schemas.ModelName, Path(description="Its name.")]


@router.get("")
async def server_metadata() -> schemas.ServerMetadata:
    """Return the server's name and version."""
    return schemas.ServerMetadata(name="medimageinsight", version=__version__, extensions=[])


@router.get("/models/{model}", responses=errors(404, 503, form=schemas.InferErrorResponse))
async def model_metadata(server: Server, model: Model) -> schemas.ModelMetadata:
    """Return a model's tensors."""
    served = server.models.get(model)
    shape = [-1, served.model.embedding_dim]
    return schemas.ModelMetadata(
        name=served.name,
        versions=[],
        platform="onnxruntime_onnx",
        inputs=[schemas.TensorMetadata(name=name, datatype="BYTES", shape=[-1]) for name in ("image", "text")],
        outputs=[
            schemas.TensorMetadata(name=name, datatype="FP32", shape=shape)
            for name in ("image_embeddings", "text_embeddings")
        ],
    )


@router.post("/models/{model}/infer", responses=body_errors(schemas.InferErrorResponse))
async def infer(
    server: Server,
    body: Annotated[
        schemas.InferRequest,
        examples(
            {
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
        ),
    ],
    model: Model,
) -> schemas.InferResponse:
    """Embed tensors of images and texts.

    Images are base64 or data: URIs. One bad element fails the request, since a tensor cannot hold an error.
    """
    served = server.models.get(model)
    check_rows(sum(len(tensor.data) for tensor in body.inputs), server.settings.max_rows)
    params = parse_params(body.parameters)
    settings = scoring_preprocessing(params, served.model, server.settings.preprocessing)
    rows, names = [], []
    for tensor in body.inputs:
        for index, cell in enumerate(tensor.cells):
            image, text = (cell, None) if tensor.name == "image" else (None, cell)
            rows.append(make_row(image, text, frame=params.frame, allow_urls=server.allow_urls))
            names.append(f"{tensor.name}[{index}]")
    vectors = iter(await embed_all(served, rows, settings, names))
    requested = {output.name for output in body.outputs or ()}
    tensors = []
    for tensor in body.inputs:
        values = [next(vectors) for _ in tensor.data]
        name = tensor.output_name
        if not requested or name in requested:
            tensors.append(
                schemas.OutputTensor(
                    name=name,
                    shape=[len(values), served.model.embedding_dim],
                    data=np.concatenate(values) if values else np.empty(0, np.float32),
                )
            )
    return schemas.InferResponse(model_name=served.name, id=body.id, outputs=tensors)


def error_body(error: MedImageInsightError) -> schemas.InferErrorResponse:
    """Return an error in the protocol's form."""
    return schemas.InferErrorResponse(error=f"{error.code}: {error.message}")
