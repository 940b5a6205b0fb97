"""Around every request: its key is checked, it is logged and counted, and nothing it causes ends the connection."""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from medimageinsight.serve.http import json_response

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from medimageinsight.serve.keys import KeyRing
    from medimageinsight.serve.metrics import Metrics

logger = logging.getLogger("medimageinsight.access")
faults = logging.getLogger("medimageinsight.serve")

# What an orchestrator asks before it knows a key.
_OPEN = re.compile(r"/(health/(live|ready)|v2/health/(live|ready)|ping|version)")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Access:
    """ASGI middleware.

    Args:
        app: The application.
        keys: Who may call it; everybody where None.
        metrics: Counts requests.
        log_requests: Whether each request is a line in the log.
        root_path: Path under which a proxy offers the server.
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
        """One request, or the server's start and end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        status = 0  # of the answer, once it has begun

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        if self._may(scope, headers):
            try:
                await self._app(scope, receive, send_noted)
            except Exception as error:  # the last line of defence
                _log_fault(error, request_id)  # its answer is on its way
        else:
            self._metrics.error("key_invalid")
            await _unauthorised(headers)(scope, receive, send_noted)
        self._note(scope, request_id, status, time.monotonic() - started)

    def _may(self, scope: Scope, headers: Headers) -> bool:
        if self._keys is None or self._keys.accepts(headers.get("authorization")):
            return True
        path = scope["path"].removeprefix(self._root_path)
        plain_root = path == "/" and "text/html" not in headers.get("accept", "")
        return scope["method"] in ("GET", "HEAD") and (plain_root or _OPEN.fullmatch(path) is not None)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # The route and not the path: what a client writes into a path is its own business.
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
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _unauthorised(headers: Headers) -> Response:
    message = "expected the header 'Authorization: Bearer KEY' with a key of this server, got none or another"
    browser = "text/html" in headers.get("accept", "")  # it asks its user for a name, which is free, and the key
    challenge = 'Basic realm="medimageinsight", charset="UTF-8"' if browser else "Bearer"
    error = {"code": "key_invalid", "message": message, "type": "authentication_error", "param": None}
    return json_response({"error": error}, 401, {"WWW-Authenticate": challenge})


def _log_fault(error: Exception, request_id: str) -> None:
    """Where it happened and of which kind; its message may quote what the client sent."""
    places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]
    faults.error("unexpected", extra={"request_id": request_id, "error": type(error).__name__, "places": places})
