"""ASGI middleware that changes requests and responses of every route: prefixes of proxies, HEAD, headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Gateway:
    """The outermost middleware: paths without the prefix of a proxy, and headers of all responses.

    A proxy may remove the prefix from a path, leave it, or leave two slashes; the application sees the same path.

    Args:
        app: The application.
        root_path: Path under which a proxy offers the server, as ``/mi2``; may be empty.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        path: str = scope["path"]
        if self._root_path and path == self._root_path and _is_page(scope):  # relative URLs of the page need the slash
            query = scope["query_string"].decode("latin-1")
            url = f"{self._root_path}/{'?' if query else ''}{query}"
            await RedirectResponse(url)(scope, receive, send_with_policy)
            return
        if self._root_path and (path == self._root_path or path.startswith(f"{self._root_path}/")):
            path = path[len(self._root_path) :]
        await self._app({**scope, "path": f"/{path.lstrip('/')}"}, receive, send_with_policy)


class HeadAsGet:
    """ASGI middleware that answers HEAD as GET; the server sends no body of it.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_allow(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 405:
                headers = MutableHeaders(scope=message)
                methods = headers.get("allow", "").split(", ")
                if "GET" in methods and "HEAD" not in methods:
                    headers["Allow"] = ", ".join([*methods, "HEAD"])
            await send(message)

        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(inner, receive, send_allow)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]  # for the log


def _is_page(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and "text/html" in Headers(scope=scope).get("accept", "")
