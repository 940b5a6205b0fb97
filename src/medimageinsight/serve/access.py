"""ASGI middleware that checks API keys, logs and counts requests, and catches what the application does not."""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from medimageinsight.serve.http import json_response
from medimageinsight.serve.response_warnings import WARNINGS_HEADER, collect_warnings

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from medimageinsight.serve.keys import KeyRing
    from medimageinsight.serve.metrics import Metrics

logger = logging.getLogger("medimageinsight.access")
fault_logger = logging.getLogger("medimageinsight.serve")

# Routes without a key: orchestrators request them before they know one.
_KEYLESS_PATH = re.compile(r"/(health/(live|ready)|v2/health/(live|ready)|ping|version)")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Access:
    """ASGI middleware.

    Args:
        app: The application.
        keys: Accepted API keys; None accepts every request.
        metrics: Counts requests.
        log_requests: Log one line per request.
        root_path: Path under which a proxy serves the application.
    """

    def __init__(
        self, app: ASGIApp, *, keys: KeyRing | None, metrics: Metrics, log_requests: bool, root_path: str
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._log_requests = log_requests
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        status = 0  # of the response, once it has started
        warnings = collect_warnings()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = MutableHeaders(scope=message)
                response_headers["X-Request-Id"] = request_id
                if warnings:
                    response_headers[WARNINGS_HEADER] = ", ".join(sorted(warnings))
            await send(message)

        if self._is_authorized(scope, headers):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:  # the application has already sent a response
                _log_fault(error, request_id)
        else:
            self._metrics.error("key_invalid")
            await _unauthorized(headers)(scope, receive, send_with_id)
        self._record(scope, request_id, status, time.monotonic() - started)

    def _is_authorized(self, scope: Scope, headers: Headers) -> bool:
        if self._keys is None or self._keys.accepts(headers.get("authorization")):
            return True
        path = scope["path"].removeprefix(self._root_path)
        plain_root = path == "/" and "text/html" not in headers.get("accept", "")
        return scope["method"] in ("GET", "HEAD") and (plain_root or _KEYLESS_PATH.fullmatch(path) is not None)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # The route, not the path: a path may contain private data.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, status, seconds)
        if self._log_requests:
            logger.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other",
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1000, 1),
                },
            )


def _request_id(headers: Headers) -> str:
    request_id = headers.get("x-request-id", "")
    return request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex


def _unauthorized(headers: Headers) -> Response:
    got = "an unknown key" if "authorization" in headers else "no such header"
    message = f"expected the header 'Authorization: Bearer KEY' with a key of this server, got {got}"
    browser = "text/html" in headers.get("accept", "")  # prompts its user for any name, and the key as password
    challenge = 'Basic realm="medimageinsight", charset="UTF-8"' if browser else "Bearer"
    error = {"code": "key_invalid", "message": message, "type": "authentication_error", "param": None}
    return json_response({"error": error}, 401, {"WWW-Authenticate": challenge})


def _log_fault(error: Exception, request_id: str) -> None:
    """Log the exception's type and location; its message may quote the request."""
    locations = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]
    fault_logger.error(
        "unexpected", extra={"request_id": request_id, "error": type(error).__name__, "places": locations}
    )
