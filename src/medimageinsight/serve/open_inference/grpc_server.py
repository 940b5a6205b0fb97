"""A gRPC server of the Open Inference Protocol, next to the HTTP server: the same models, queue, keys and limits."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from medimageinsight.errors import ConfigError, InputError, MedImageInsightError
from medimageinsight.serve.authentication import unauthorized
from medimageinsight.serve.open_inference.encoding import DEFLATE, GZIP, decompress
from medimageinsight.serve.open_inference.grpc_messages import SERVICE
from medimageinsight.serve.open_inference.grpc_service import KEYLESS, InferenceService
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.response_warnings import collect_warnings
from medimageinsight.serve.scoring_response import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from medimageinsight.serve.authentication import Authentication
    from medimageinsight.serve.caller import Caller
    from medimageinsight.serve.routes.state import ServerState
    from medimageinsight.serve.settings import ServerSettings

logger = logging.getLogger("medimageinsight.access")
server_logger = logging.getLogger("medimageinsight.serve")

_MAX_METADATA_BYTES = 64 << 10
_MAX_CALLS = 1000  # at once, of all clients
_MAX_CALLS_OF_A_CONNECTION = 100
_CLIENT_CLOSED = 499  # as over HTTP, only in the log
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,  # clients send RESOURCE_EXHAUSTED again
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


@asynccontextmanager
async def run_grpc_server(server: ServerState, authentication: Authentication) -> AsyncIterator[None]:
    """Serve while the block runs, then let calls in progress end within ``drain_timeout_s``.

    Raises:
        ConfigError: The port or the certificate cannot be used.
    """
    settings = server.settings
    calls = _Calls(server, authentication)
    running = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=_MAX_CALLS)
    for service, methods in calls.handlers().items():
        running.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    _listen(running, settings)
    await running.start()
    server_logger.info("serving gRPC", extra={"port": settings.grpc_port})
    try:
        yield
    finally:
        await running.stop(settings.drain_timeout_s)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", _MAX_CALLS_OF_A_CONNECTION),
        ("grpc.per_message_decompression", 0),  # gRPC's own has no limit
        ("grpc.so_reuseport", int(settings.workers > 1)),  # else two servers could share a port unnoticed
    ]


def _listen(running: Any, settings: ServerSettings) -> None:  # noqa: ANN401 - of gRPC, without types
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls_key is not None and settings.tls_cert is not None:
            pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
            running.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            running.add_insecure_port(address)
    except (OSError, RuntimeError):
        raise ConfigError(
            "expected a grpc_port that is free, and a certificate that can be read, got another: choose another port",
            code="address_not_available",
        ) from None


class _Calls:
    """Receives requests within the server's limits, and sends responses or errors.

    Methods are registered as streams, on the wire the same: a call begins before its message has arrived, so that it
    can be refused by its key, and at most as many messages arrive at once as ``queue_bytes`` permits.
    """

    def __init__(self, server: ServerState, authentication: Authentication) -> None:
        self._server = server
        self._authentication = authentication
        self._service = InferenceService(server)
        self._arriving = asyncio.Semaphore(max(1, server.settings.queue_bytes // server.settings.max_body_bytes))

    def handlers(self) -> dict[str, dict[str, Any]]:
        """Return gRPC's handlers, by service and method."""
        services = {SERVICE: self._service.methods, "grpc.health.v1.Health": ("Check",)}
        return {
            service: {method: grpc.stream_unary_rpc_method_handler(self._handler(method)) for method in methods}
            for service, methods in services.items()
        }

    def _handler(self, method: str) -> Any:  # noqa: ANN401 - what gRPC takes
        async def handle(_: object, context: Any) -> bytes:  # noqa: ANN401 - of gRPC, without types
            started = time.monotonic()
            warnings = collect_warnings()
            parents = [value for name, value in context.invocation_metadata() if name == "traceparent"]
            trace = self._server.tracing.begin(parents, routine=method in KEYLESS)
            status, caller = _CLIENT_CLOSED, None
            try:
                caller = await self._find_caller(method, context)
                with self._authentication.acting_for(caller), self._server.metrics.in_flight():
                    response = await self._answer(method, context)
                status = 200
            except Exception as error:
                rejection = _as_rejection(error)
                status = rejection.status
            finally:
                self._record(method, status, time.monotonic() - started, caller)
                if trace is not None:
                    trace.end(f"grpc/{method}", _attributes(method, status), failed=status >= 500)
            if status != 200:
                self._server.metrics.error(rejection.code)
                await context.abort(*_error(rejection))
            if warnings:
                context.set_trailing_metadata((("x-warnings", ", ".join(sorted(warnings))),))
            return response

        return handle

    async def _answer(self, method: str, context: Any) -> bytes:  # noqa: ANN401 - of gRPC, without types
        if method == "ModelInfer":
            self._server.models.check_open()  # before the message is received
        if method in KEYLESS:  # nobody may wait for the messages of unknown callers; these are empty
            return await self._service.answer(method, b"")
        server, limit = self._server, self._server.settings.max_body_bytes
        content = await self._receive(context)
        with server.bodies.hold(len(content)):
            coding = _coding(content)
            if coding is None:
                return await self._service.answer(method, content)
            plain = await server.run(limit, lambda: decompress(content, coding, limit, server.bodies.too_large))
            with server.bodies.hold(len(plain)):
                return await self._service.answer(method, plain)

    async def _receive(self, context: Any) -> bytes:  # noqa: ANN401 - of gRPC, without types
        """Return the bytes of a call's message."""
        async with self._arriving:
            try:
                content = await asyncio.wait_for(context.read(), self._server.settings.body_timeout_s)
            except TimeoutError:
                raise Rejection(
                    408, "expected a whole message, got a part of it: send the rest in time", code="request_timeout"
                ) from None
        if not isinstance(content, bytes):
            raise Rejection(400, "expected one message, got none", code="request_invalid")
        return content

    async def _find_caller(self, method: str, context: Any) -> Caller | None:  # noqa: ANN401 - of gRPC, without types
        """Return the caller; None where the server has no keys, or the method needs none.

        Raises:
            Rejection: 401 without a valid key, 429 over the limit of the caller.
        """
        if not self._authentication.is_required or method in KEYLESS:
            return None
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        caller = await self._authentication.find(metadata)
        if caller is None:
            raise unauthorized(metadata)
        self._authentication.count_request(caller)
        return caller

    def _record(self, method: str, status: int, seconds: float, caller: Caller | None) -> None:
        route = f"grpc/{method}"
        self._server.metrics.request(route, status, seconds, caller=caller.label if caller else None)
        if self._server.settings.access_log:
            values = {"method": "GRPC", "route": route, "status": status, "milliseconds": round(seconds * 1000, 1)}
            logger.info("request", extra=values | ({"caller": caller.name} if caller else {}))


def _attributes(method: str, status: int) -> dict[str, str | int]:
    """Return the attributes of a call's span."""
    others = {200: grpc.StatusCode.OK, _CLIENT_CLOSED: grpc.StatusCode.CANCELLED}
    code = others.get(status) or _CODES.get(status, grpc.StatusCode.INTERNAL)
    return {"rpc.system": "grpc", "rpc.method": method, "rpc.grpc.status_code": code.value[0]}


def _coding(content: bytes) -> str | None:
    """Return the compression of a message: its metadata do not show it, but no request begins with these bytes."""
    if content.startswith(b"\x1f\x8b"):  # field 3 of wire type 7, which does not exist
        return GZIP
    return DEFLATE if content.startswith(b"\x78") else None  # field 15, which no request has


def _as_rejection(error: Exception) -> Rejection:
    if isinstance(error, Rejection):
        return error
    if isinstance(error, InputError):
        return Rejection(status_of(error), error.message, code=error.code)
    server_logger.error("unexpected", extra={"error": type(error).__name__})
    code = error.code if isinstance(error, MedImageInsightError) else "unexpected"
    return Rejection(500, "expected to answer, failed: see the server's log", code=code)


def _error(rejection: Rejection) -> tuple[Any, str, tuple[tuple[str, str], ...]]:
    """Return the code, the message and the metadata of a call that is refused."""
    code = _CODES.get(rejection.status, grpc.StatusCode.INTERNAL)
    metadata = [] if rejection.retry_after_s is None else [("retry-after", str(rejection.retry_after_s))]
    return code, f"{rejection.code}: {rejection.message}", tuple(metadata)
