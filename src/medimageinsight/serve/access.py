"""ASGI middleware that finds callers by their keys, logs and counts requests, and catches what remains uncaught.

The caller of a request, a `Caller` or None, is `request.state.caller`.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from medimageinsight.serve.authentication import unauthorized
from medimageinsight.serve.http import json_response
from medimageinsight.serve.rejection import Rejection
from medimageinsight.serve.response_warnings import WARNINGS_HEADER, collect_warnings

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from medimageinsight.serve.authentication import Authentication
    from medimageinsight.serve.caller import Caller
    from medimageinsight.serve.metrics import Metrics
    from medimageinsight.serve.trace_context import RequestTrace
    from medimageinsight.serve.tracing import Tracing

logger = logging.getLogger("medimageinsight.access")
fault_logger = logging.getLogger("medimageinsight.serve")

# Routes without a key: orchestrators request them before they know one.
_KEYLESS_PATH = re.compile(r"/(health/(live|ready)|v2/health/(live|ready)|ping|version)")
# Requests of monitors, whose traces would be of no use.
_ROUTINE_PATH = re.compile(rf"{_KEYLESS_PATH.pattern}|/metrics")
_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "server_error"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Access:
    """ASGI middleware.

    Args:
        app: The application.
        authentication: Finds the callers of requests.
        metrics: Counts requests.
        tracing: Traces requests.
        log_requests: Log one line per request.
        root_path: Path under which a proxy serves the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authentication: Authentication,
        metrics: Metrics,
        tracing: Tracing,
        log_requests: bool,
        root_path: str,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._metrics = metrics
        self._tracing = tracing
        self._log_requests = log_requests
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._metrics.in_flight():
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        status = 0  # of the response, once it has started
        warnings = collect_warnings()
        trace = self._tracing.begin(headers.getlist("traceparent"), routine=self._is_routine(scope))
        writing = started

        async def send_with_id(message: Message) -> None:
            nonlocal status, writing
            if message["type"] == "http.response.start":
                status, writing = message["status"], time.monotonic()
                response_headers = MutableHeaders(scope=message)
                response_headers["X-Request-Id"] = request_id
                if warnings:
                    response_headers[WARNINGS_HEADER] = ", ".join(sorted(warnings))
                if trace is not None and trace.response_header is not None:
                    response_headers["traceresponse"] = trace.response_header
            await send(message)
            if trace is not None and message["type"] == "http.response.body" and not message.get("more_body", False):
                trace.stage("write", writing, time.monotonic())

        caller = None
        try:
            caller = await self._find_caller(scope, headers)
            scope.setdefault("state", {})["caller"] = caller
            with self._authentication.acting_for(caller):
                await self._app(scope, receive, send_with_id)
        except Rejection as rejection:  # of `_find_caller`; the application answers its own
            self._metrics.error(rejection.code)
            await _refuse(rejection, headers)(scope, receive, send_with_id)
        except Exception as error:  # the application has already sent a response
            _log_fault(error, request_id)
        self._record(scope, request_id, status, time.monotonic() - started, caller)
        if trace is not None:
            _end_trace(trace, scope, status)

    async def _find_caller(self, scope: Scope, headers: Headers) -> Caller | None:
        """Return the caller; None where the server has no keys, or the route needs none.

        Raises:
            Rejection: 401 without a valid key or login, 403 without the rights, 429 over the limit of the caller, 503
                while no login can be verified.
        """
        if not self._authentication.is_required or self._is_open(scope, headers):
            return None
        caller = await self._authentication.find(headers)
        if caller is None:
            raise unauthorized(headers)
        self._authentication.count_request(caller)
        return caller

    def _is_open(self, scope: Scope, headers: Headers) -> bool:
        path = scope["path"].removeprefix(self._root_path)
        plain_root = path == "/" and "text/html" not in headers.get("accept", "")
        return scope["method"] in ("GET", "HEAD") and (plain_root or _KEYLESS_PATH.fullmatch(path) is not None)

    def _is_routine(self, scope: Scope) -> bool:
        return _ROUTINE_PATH.fullmatch(scope["path"].removeprefix(self._root_path)) is not None

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float, caller: Caller | None) -> None:
        # The route, not the path: a path may contain private data.
        route = _route(scope)
        self._metrics.request(route, status, seconds, caller=caller.label if caller is not None else None)
        if self._log_requests:
            logger.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": _method(scope),
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1000, 1),
                    **({"caller": caller.name} if caller else {}),
                },
            )


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "POST", "HEAD", "OPTIONS") else "other"


def _route(scope: Scope) -> str:
    route: str = getattr(scope.get("route"), "path", "other")
    return route


def _end_trace(trace: RequestTrace, scope: Scope, status: int) -> None:
    method, route = _method(scope), _route(scope)
    attributes: dict[str, str | int] = {"http.request.method": method, "http.route": route}
    if status:  # of a response that was sent
        attributes["http.response.status_code"] = status
    if status >= 500:
        attributes["error.type"] = str(status)
    trace.end(f"{method} {route}", attributes, failed=status >= 500)


def _request_id(headers: Headers) -> str:
    request_id = headers.get("x-request-id", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex


def _refuse(rejection: Rejection, headers: Headers) -> Response:
    error = {
        "code": rejection.code,
        "message": rejection.message,
        "type": _ERROR_TYPES[rejection.status],
        "param": None,
    }
    if rejection.status != 401:
        retry = {} if rejection.retry_after_s is None else {"Retry-After": str(rejection.retry_after_s)}
        return json_response({"error": error}, rejection.status, retry)
    browser = "text/html" in headers.get("accept", "")  # prompts its user for any name, and the key as password
    challenge = 'Basic realm="medimageinsight", charset="UTF-8"' if browser else "Bearer"
    return json_response({"error": error}, rejection.status, {"WWW-Authenticate": challenge})


def _log_fault(error: Exception, request_id: str) -> None:
    """Log the exception's type and location; its message may quote the request."""
    locations = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]
    fault_logger.error(
        "unexpected", extra={"request_id": request_id, "error": type(error).__name__, "places": locations}
    )
