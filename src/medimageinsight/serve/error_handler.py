"""Errors of requests as responses, each in the form of the protocol that the request is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.serve.http import ClientGoneError, json_response
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes import azure, inference, openai
from medimageinsight.serve.scoring_response import status_of

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

    from medimageinsight.serve.routes.state import ServerState

CLIENT_CLOSED_REQUEST = 499  # nginx's; only the log shows it
_HANDLED = (InputError, Rejection, ClientGoneError, RequestValidationError, HTTPException, Exception)


def add_error_handler(app: FastAPI) -> None:
    """Make the application answer every error of its routes."""
    for kind in _HANDLED:
        app.add_exception_handler(kind, _respond)


async def _respond(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientGoneError):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    rejection = _as_rejection(error)
    server: ServerState = request.app.state.server
    server.metrics.error(rejection.code)
    headers = dict(getattr(error, "headers", None) or {})
    if rejection.retry_after_s is not None:
        headers["Retry-After"] = str(rejection.retry_after_s)
    path = request.url.path.removeprefix(server.settings.root_path)
    if path.startswith(("/v1/", *azure.PREFIXES)):
        body: schemas.ResponseModel = openai.error_body(rejection, rejection.status)
    elif path.startswith("/v2"):
        body = inference.error_body(rejection)
    else:
        body = schemas.ErrorResponse.of(rejection)
    return json_response(body, rejection.status, headers)


def _as_rejection(error: Exception) -> Rejection:
    if isinstance(error, Rejection):
        return error
    if isinstance(error, RequestValidationError):  # of a URL's query, whose members' locations begin with "query"
        error = schemas.first_error([{**item, "loc": item["loc"][1:]} for item in error.errors()])
    if isinstance(error, InputError):
        return Rejection(status_of(error), error.message, code=error.code)
    if not isinstance(error, HTTPException):
        return Rejection(500, "expected to answer, failed: its request id is in the server's log", code="unexpected")
    known = {404: ("an unknown path", "route_not_found"), 405: ("another method", "method_not_allowed")}
    got, code = known.get(error.status_code, (f"a request of status {error.status_code}", "request_invalid"))
    return Rejection(error.status_code, f"expected a route of this server, got {got}: see /docs", code=code)
