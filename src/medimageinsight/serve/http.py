"""Read request bodies within limits, write JSON responses, and cancel work whose client has disconnected."""

from __future__ import annotations

import asyncio
import codecs
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from starlette.responses import Response

from medimageinsight.serve.rejection import Rejection, overloaded
from medimageinsight.serve.scoring_request import not_json
from medimageinsight.serve.surrogates import parse_with_surrogates, print_with_surrogates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from starlette.requests import Request

    from medimageinsight.serve.settings import ServerSettings

_T = TypeVar("_T")


class ClientGoneError(Exception):
    """The client closed its connection before the response."""


class BodyReader:
    """Reads request bodies within the limits of one request and of the whole server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._bytes_in_memory = 0  # of all bodies

    @asynccontextmanager
    async def read(
        self,
        request: Request,
        *,
        check_type: Callable[[Request], None] | None = None,
        consume: Callable[[bytes], None] | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield the body of a request. It counts against the server's limit until the block ends.

        Args:
            request: The request.
            check_type: Refuses requests of a content type that the route does not accept; by default, all but JSON.
            consume: Takes each chunk as it arrives; then no bytes are yielded.

        Raises:
            Rejection: 415 for another content type, 413 for a body over the limit, 408 for one that stopped arriving,
                429 if the bodies in memory have reached the server's limit.
            ClientGoneError: The connection was closed.
        """
        (check_type or _check_content_type)(request)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_body_bytes:
            raise self.too_large()
        buffer = bytearray()
        size = 0
        try:
            async for chunk in self._chunks(request):
                if size + len(chunk) > self._settings.max_body_bytes:
                    raise self.too_large()
                self._count(len(chunk), already=size)
                size += len(chunk)
                if consume is None:
                    buffer += chunk
                else:
                    consume(chunk)
            body = bytes(buffer)
            buffer.clear()  # or the body would be in memory twice while it is answered
            yield body
        finally:
            self._bytes_in_memory -= size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count bytes that a request needs in memory, other than its body's, until the block ends.

        Raises:
            Rejection: 429 if the bodies in memory have reached the server's limit.
        """
        self._count(size, already=0)
        try:
            yield
        finally:
            self._bytes_in_memory -= size

    def _count(self, size: int, *, already: int) -> None:
        """Count bytes of a request, some of them counted already."""
        others = self._bytes_in_memory - already
        if others and others + already + size > self._settings.queue_bytes:
            raise overloaded(
                f"expected at most {self._settings.queue_bytes:,} bytes of bodies at once, got more",
                code="queue_bytes_full",
            )
        self._bytes_in_memory += size

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        more = True
        while more:
            try:
                message = await asyncio.wait_for(request.receive(), self._settings.body_timeout_s)
            except TimeoutError:
                raise Rejection(
                    408, "expected the whole body, got a part of it: send the rest in time", code="request_timeout"
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            yield message.get("body", b"")
            more = message.get("more_body", False)

    def too_large(self) -> Rejection:
        """Return the error of a body over the limit."""
        return Rejection(
            413,
            f"expected a body of at most {self._settings.max_body_bytes:,} bytes, got more: "
            "send the rows in several requests",
            code="request_too_large",
        )


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of the work, and cancel it when the client closes its connection.

    Raises:
        ClientGoneError: The connection was closed.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Parse JSON; a byte order mark before it is ignored (RFC 8259 8.1).

    Raises:
        RequestError: ``request_not_json``.
    """
    try:
        return orjson.loads(body := body.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError:
        pass
    try:
        return parse_with_surrogates(body)
    except ValueError:
        raise not_json() from None


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response; float32 arrays in it are printed in the fewest digits that read back as the same bits."""
    content = print_json(value)
    return Response(content, status, dict(headers or {}), media_type="application/json")


def print_json(value: object) -> bytes:
    """Print a JSON value with arrays and models in it; halves of surrogate pairs of a request become escapes."""
    try:
        return orjson.dumps(value, default=_members, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        return print_with_surrogates(value, _members)


def _members(value: Any) -> dict[str, Any]:  # noqa: ANN401 - a ResponseModel; pydantic's isinstance is slow
    try:
        members: dict[str, Any] = value.members()
    except AttributeError:
        raise TypeError from None
    return members


def _check_content_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != "application/json" or encoding not in ("identity", ""):
        got = "a compressed body" if media_type == "application/json" else "another type" if media_type else "no type"
        raise Rejection(
            415, f"expected Content-Type: application/json without Content-Encoding, got {got}",
            code="content_type_unsupported",
        )  # fmt: skip
