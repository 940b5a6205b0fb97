"""Routes of the Open Inference Protocol: versions of models, binary tensors, and compressed bodies."""

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response

from medimageinsight import schemas
from medimageinsight.serve.http import unless_gone
from medimageinsight.serve.open_inference.encoding import DEFLATE, GZIP, decompress
from medimageinsight.serve.open_inference.infer import find_model
from medimageinsight.serve.open_inference.tensors import HEADER_LENGTH, read_request, write_response
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.routes.route import ServerRoute
from medimageinsight.serve.routes.state import ServerState, state_of

_CODINGS = {"": None, "identity": None, "gzip": GZIP, "x-gzip": GZIP, "deflate": DEFLATE}


class InferRoute(ServerRoute):
    """A route of the protocol.

    A model's version in the path is checked, and not passed on. A function with the parameter ``body`` is called with
    an `InferRequest`, whose tensors may have been binary, and returns an `InferResponse`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handler = super().get_route_handler()
        takes_body = "body" in get_type_hints(self.endpoint)

        async def answer(request: Request) -> Response:
            server, path = state_of(request), request.path_params
            if "model" in path:
                find_model(server, path["model"], path.get("version", ""))  # 404 and 503 before the body is read
            if not takes_body:
                return await handler(request)
            async with server.bodies.read(request, check_type=_check_type) as content:
                return await unless_gone(request, self._infer(server, request, content))

        return answer

    async def _infer(self, server: ServerState, request: Request, content: bytes) -> Response:
        limit = server.settings.max_body_bytes
        headers = request.headers
        coding = _coding(request)
        if coding is not None:
            content = await server.run(limit, lambda: decompress(content, coding, limit, server.bodies.too_large))
        with server.bodies.hold(0 if coding is None else len(content)):
            with server.metrics.timed("parse"):
                body = await server.run(
                    len(content),
                    lambda: schemas.validate(
                        schemas.InferRequest,
                        read_request(content, headers.get(HEADER_LENGTH), server.settings.max_rows),
                    ),
                )
            response = await self.endpoint(server, body, model=request.path_params["model"])
        size = sum(tensor.data.nbytes for tensor in response.outputs)
        with server.metrics.timed("answer"):
            return await server.run(size, lambda: _respond(response, body))


def _respond(response: schemas.InferResponse, request: schemas.InferRequest) -> Response:
    content, head_length = write_response(response, request)
    headers = {} if head_length is None else {HEADER_LENGTH: str(head_length)}
    media_type = "application/json" if head_length is None else "application/octet-stream"
    return Response(content, headers=headers, media_type=media_type)


def _coding(request: Request) -> str | None:
    return _CODINGS[request.headers.get("content-encoding", "").strip().lower()]


def _check_type(request: Request) -> None:
    """Refuse other content types.

    Clients of the protocol send none, which a page of another origin can do too, without asking first: with the header
    Origin, which every browser sends and clients do not, the type must be stated.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    allowed = ("application/json", "application/octet-stream") + (() if "origin" in request.headers else ("",))
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if media_type not in allowed or encoding not in _CODINGS:
        got = "another encoding" if media_type in allowed else "another type" if media_type else "no type from a page"
        raise Rejection(
            415,
            "expected Content-Type: application/json or application/octet-stream, and Content-Encoding: gzip, deflate "
            f"or none, got {got}",
            code="content_type_unsupported",
        )
