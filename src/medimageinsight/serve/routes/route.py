"""A route whose description is its function: docstring, body, response and errors."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, get_type_hints

from fastapi import APIRouter, Body, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from medimageinsight.schemas import ErrorResponse, validate
from medimageinsight.serve.http import json_response, unless_gone
from medimageinsight.serve.routes.state import state_of

RETRY_AFTER = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}}  # seconds
_RETRIED = (429, 503)  # these pass by themselves, other errors do not
_ERRORS = {
    400: "Not of the documented form: `request_not_json`, `request_invalid`, `params_invalid`, `row_invalid`.",
    404: "No model, store, tagger or stored image of that name: `model_not_found`, `store_not_found`, "
    "`tagger_not_found`, `ids_unknown`, `picture_not_available`.",
    408: "The body stopped arriving: `request_timeout`.",
    413: "A body or a number of rows over the server's limits: `request_too_large`, `request_too_many_rows`.",
    415: "Another content type than application/json, or a compressed body: `content_type_unsupported`.",
    422: "A value that cannot be used: codes as `image_truncated`, `text_too_long`, `row_empty`, `filter_invalid`.",
    429: "More work than the server accepts: `queue_full`, `queue_bytes_full`, `queue_deadline`.",
    503: "A model is loading (`model_loading`) or the server is stopping (`server_draining`).",
}


class ServerRoute(APIRoute):
    """A route that is documented by its function's docstring.

    A function with the parameter ``body`` is called with the server's state, the validated body and the parameters of
    the path. The body is read within the server's limits, and the work ends when the client has gone.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - FastAPI's
        super().__init__(path, endpoint, **options)
        summary, _, self.description = (inspect.getdoc(endpoint) or "").partition("\n\n")
        self.summary = summary.removesuffix(".")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        model = get_type_hints(self.endpoint).get("body")
        if model is None:
            return super().get_route_handler()

        async def answer(request: Request) -> Response:
            server = state_of(request)
            server.models.get(request.path_params.get("model"))  # 404 and 503 before the body is read

            async def work(content: bytes) -> BaseModel:
                strict = request.headers.get("extra-parameters") == "error"
                body = await server.parse(content, lambda value: validate(model, value, refuse_unknown=strict))
                result: BaseModel = await self.endpoint(server, body, **request.path_params)
                return result

            async with server.bodies.read(request) as content:
                result = await unless_gone(request, work(content))
                with server.metrics.timed("answer"):
                    return json_response(result)

        return answer


def new_router(tag: str, prefix: str = "", route_class: type[ServerRoute] = ServerRoute) -> APIRouter:
    """Return a router of such routes, whose operations are named after their functions, in camel case."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=route_class, generate_unique_id_function=_operation_id)


def examples(bodies: Mapping[str, object]) -> Any:  # noqa: ANN401 - what FastAPI reads
    """Return the examples of a body, by title."""
    return Body(openapi_examples={title: {"value": body} for title, body in bodies.items()})


def errors(*statuses: int, form: Any = ErrorResponse) -> dict[int | str, dict[str, Any]]:  # noqa: ANN401 - a model
    """Return the error responses of a route."""
    return {
        status: {"model": form, "description": _ERRORS[status]}
        | ({"headers": RETRY_AFTER} if status in _RETRIED else {})
        for status in statuses
    }


def body_errors(form: Any = ErrorResponse) -> dict[int | str, dict[str, Any]]:  # noqa: ANN401 - a model
    """Return the error responses of a route that takes a body."""
    return errors(*_ERRORS, form=form)


def media(*types: str) -> dict[int | str, dict[str, Any]]:
    """Return a response that is no JSON, of one of the types."""
    return {200: {"content": {name: {"schema": {"type": "string"}} for name in types}}}


def _operation_id(route: APIRoute) -> str:
    first, *others = route.name.split("_")
    return first + "".join(word.title() for word in others)
