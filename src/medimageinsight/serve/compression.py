"""ASGI middleware that compresses responses: zstd, gzip or deflate, as the client prefers.

No response contains a secret, and none repeats what a request chose next to one, so that the length of a compressed
response reveals nothing (BREACH): keys and logins are never answered, and error messages quote no request.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import zlib
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from medimageinsight.serve.open_inference.encoding import DEFLATE, GZIP, WINDOW_BITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    # Runs a function that works on so many bytes, in a thread where they are many.
    Run = Callable[[int, Callable[[], bytes]], Awaitable[bytes]]

ZSTD, IDENTITY = "zstd", "identity"
_LEVEL = 1  # float32 hardly becomes smaller with more effort, in any of the codings
# Other types are compressed already, as images are, or are streams of events, which must not be delayed.
_COMPRESSIBLE = re.compile(r"(text/(?!event-stream)[^;]+|application/(json|octet-stream)|image/svg\+xml) *(;.*)?")
_WEIGHT = r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?"
_ACCEPTED = re.compile(rf"([!#$%&'*+.^_`|~\w-]+)\s*(?:;\s*q=({_WEIGHT}))?", re.ASCII | re.IGNORECASE)
_MAX_ACCEPTED = 1024  # characters


class Compression:
    """ASGI middleware.

    Args:
        app: The application.
        min_bytes: Smaller bodies are not compressed, unless the client refuses others.
        run: Runs the compression of a body.
    """

    def __init__(self, app: ASGIApp, *, min_bytes: int, run: Run) -> None:
        self._app = app
        self._min_bytes = min_bytes
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = ",".join(Headers(scope=scope).getlist("accept-encoding"))
        start: Message | None = None  # of a response that may be compressed

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_compressible(message):
                start = message
                return
            if start is not None:
                head, start = start, None
                await send(await self._compress(head, message, accepted))
            await send(message)

        await self._app(scope, receive, send_compressed)

    async def _compress(self, start: Message, message: Message, accepted: str) -> Message:
        """Compress the body in the message if it is a whole one; return the response's head."""
        body = message.get("body", b"")
        if message.get("more_body", False) or not body:
            return start
        coding, must = choose_coding(accepted)
        headers = MutableHeaders(raw=[*start["headers"]])
        if len(body) >= self._min_bytes or must:
            headers.add_vary_header("Accept-Encoding")
            if coding != IDENTITY:
                message["body"] = await self._run(len(body), lambda: compress(body, coding))
                headers["Content-Encoding"] = coding
                headers["Content-Length"] = str(len(message["body"]))
        return {**start, "headers": headers.raw}


@functools.lru_cache(64)
def choose_coding(accepted: str) -> tuple[str, bool]:
    """Return the coding that an Accept-Encoding header prefers, and whether it refuses a body without any.

    A client that accepts none of these codings gets a body without any, also where it refuses that (RFC 9110, 12.5.3).
    """
    weights: dict[str, float] = {}
    for item in accepted[:_MAX_ACCEPTED].split(",") if accepted else ():
        if match := _ACCEPTED.fullmatch(item.strip()):
            name = match[1].lower().removeprefix("x-")
            weights.setdefault(name, float(match[2] or 1))
    others = weights.get("*", 0.0)  # a client that names none need not know a coding as young as zstd
    offered = {name: weights.get(name, 0.0 if name == ZSTD else others) for name in _offered()}
    best = max(offered, key=lambda name: offered[name])  # the first of equal ones
    plain = weights.get(IDENTITY, 0.0 if weights.get("*") == 0 else None)
    if offered[best] == 0 or (plain is not None and plain > offered[best]):
        return IDENTITY, False
    return best, plain == 0


def compress(content: bytes, coding: str) -> bytes:
    """Compress a body with one of the codings but ``identity``."""
    if coding == ZSTD:
        import zstandard

        return zstandard.ZstdCompressor(level=_LEVEL).compress(content)
    compressor = zlib.compressobj(_LEVEL, wbits=WINDOW_BITS[coding])
    return compressor.compress(content) + compressor.flush()


@functools.cache
def _offered() -> tuple[str, ...]:
    """Return the codings, the best first; zstd needs the extra ``zstd``."""
    return (ZSTD, GZIP, DEFLATE) if importlib.util.find_spec("zstandard") else (GZIP, DEFLATE)


def _is_compressible(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        start["status"] not in (204, 206, 304)
        and "content-encoding" not in headers
        and "no-transform" not in headers.get("cache-control", "")
        and _COMPRESSIBLE.fullmatch(headers.get("content-type", "")) is not None
    )
