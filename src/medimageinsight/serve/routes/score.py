"""The hosted endpoint's routes: /score, and MLflow's /invocations, which takes the same bodies."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from fastapi import Query, Request, Response

from medimageinsight.schemas import ModelName, ScoreResponse
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.label_scores import LabelVectors, label_texts
from medimageinsight.serve.models import ServedModel
from medimageinsight.serve.response_warnings import record_warnings
from medimageinsight.serve.routes.route import body_errors, new_router
from medimageinsight.serve.routes.rows import embed_texts
from medimageinsight.serve.routes.samples import OTHER_TEXT, PNG, PNG_URI, TEXT
from medimageinsight.serve.routes.state import Server, ServerState
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_request import parse_request
from medimageinsight.serve.scoring_response import ScoringResponse, answer_request, shape_of

router = new_router("Scoring")

Model = Annotated[ModelName | None, Query(description="Another model than the first.")]
_SCORE = {
    "One text": {"input_data": {"columns": ["text"], "data": [[TEXT]]}},
    "An image and its text": {
        "input_data": {"columns": ["image", "text"], "index": [0], "data": [[PNG, TEXT]]},
        "params": {"get_scaling_factor": True},
    },
    "An image and two texts, one object a row": {
        "input_data": {"columns": ["image", "text"], "data": [[PNG, TEXT], [None, OTHER_TEXT]]},
        "params": {"response_shape": "rows"},
    },
}
_INVOCATIONS = {
    "Split": {"dataframe_split": {"columns": ["text"], "data": [[TEXT]]}},
    "Records": {"dataframe_records": [{"image": PNG, "text": TEXT}]},
    "Columns": {"inputs": {"image": [PNG], "text": [TEXT, OTHER_TEXT]}},
    "Instances": {"instances": [{"text": TEXT}, {"image": PNG_URI}]},
}


def _takes(examples: Mapping[str, object]) -> dict[str, Any]:
    content = {
        "schema": {"$ref": "#/components/schemas/ScoreRequest"},
        "examples": {title: {"value": body} for title, body in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


@router.post("/score", response_model=ScoreResponse, responses=body_errors(), openapi_extra=_takes(_SCORE))
async def score(request: Request, server: Server, model: Model = None) -> Response:
    """Embed rows of images and texts.

    Requests and responses are those of the hosted endpoint. A bad row has an error as its result, unless it is the only
    row or `params.on_error` is `fail`.
    """
    return await _respond(request, server, model)


@router.post("/invocations", response_model=ScoreResponse, responses=body_errors(), openapi_extra=_takes(_INVOCATIONS))
async def invocations(request: Request, server: Server, model: Model = None) -> Response:
    """Embed rows, under MLflow's name.

    MLflow's clients send one of four bodies here; either route takes them all. A bad row has an error as its
    result, unless it is the only row or `params.on_error` is `fail`.
    """
    return await _respond(request, server, model)


async def _respond(request: Request, server: ServerState, model: str | None) -> Response:
    served = server.models.get(model)
    async with server.bodies.read(request) as body:
        answer = await unless_gone(request, _score(server, served, body))
        if isinstance(answer.body, dict):
            server.metrics.error(answer.body["error"]["code"])
        with server.metrics.timed("answer"):
            return json_response(answer.body, answer.status)


async def _score(server: ServerState, served: ServedModel, body: bytes) -> ScoringResponse:
    limits = server.settings.request_limits
    request = await server.parse(
        body, lambda content: parse_request(content, limits=limits, allow_urls=server.allow_urls)
    )
    if request.params.has_unknown:
        record_warnings(["params_unknown"])
    labels = None
    if shape_of(request, server.settings.response_shape) == "labels":
        texts = label_texts(served.labels)
        vectors = await embed_texts(served, texts)
        labels = LabelVectors(labels=served.labels, vectors=np.stack([vectors[text] for text in texts]))
    settings = scoring_preprocessing(request.params, served.model, server.settings.preprocessing)
    results = await served.embed_rows(request.rows, settings)
    return answer_request(
        request,
        results,
        logit_scale=served.model.logit_scale,
        response_shape=server.settings.response_shape,
        labels=labels,
    )
