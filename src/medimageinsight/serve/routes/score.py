"""The hosted endpoint's routes: /score, and MLflow's /invocations, which takes the same bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from medimageinsight.errors import InputError
from medimageinsight.serve.contract import parse_request
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.routes.state import ServerState, state_of
from medimageinsight.serve.scoring import scoring_preprocessing
from medimageinsight.serve.scoring_response import answer_request, refuse

if TYPE_CHECKING:
    from medimageinsight.serve.contract import ScoreRequest
    from medimageinsight.serve.models import ServedModel
    from medimageinsight.serve.scoring_response import ScoringResponse

router = APIRouter(include_in_schema=False)


@router.post("/score")
@router.post("/invocations")
async def score(request: Request) -> Response:
    """Features of the rows of one request. The query's ``model`` names another model than the first."""
    server = state_of(request)
    served = server.models.get(request.query_params.get("model"))
    with server.bodies.room() as room:
        body = await server.bodies.read(request, room)
        answer = await unless_gone(request, _answer(server, served, body))
        if isinstance(answer.body, dict):
            server.metrics.error(answer.body["error"]["code"])
        with server.metrics.timed("answer"):
            return json_response(answer.body, answer.status)


async def _answer(server: ServerState, served: ServedModel, body: bytes) -> ScoringResponse:
    try:
        request = await server.parse(body, lambda content: _read(server, content))
    except InputError as error:
        return refuse(error)
    settings = scoring_preprocessing(request.params, served.model, server.settings.preprocessing)
    results = await served.embed_rows(request.rows, settings)
    return answer_request(
        request,
        results,
        logit_scale=served.model.logit_scale,
        response_shape=server.settings.response_shape,
    )


def _read(server: ServerState, content: Any) -> ScoreRequest:  # noqa: ANN401 - whatever it is, it is checked
    return parse_request(
        content,
        limits=server.settings.request_limits,
        allow_urls=bool(server.settings.url_hosts),
    )
