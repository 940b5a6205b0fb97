"""Between HTTP and the rest: bodies read within limits, JSON out, work that ends when its client has gone."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from starlette.responses import Response

from medimageinsight.serve.contract import not_json
from medimageinsight.serve.rejection import Refused, overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping

    from starlette.requests import Request

    from medimageinsight.serve.settings import ServerSettings

_T = TypeVar("_T")


class ClientGoneError(Exception):
    """The client closed its connection, so nobody waits for an answer."""


class BodyReader:
    """Reads bodies, one by one within the request's limits and all together within the server's."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._held = 0  # bytes of all bodies in memory

    @contextmanager
    def room(self) -> Iterator[_Room]:
        """Room for one body, given back when its request is answered."""
        room = _Room()
        try:
            yield room
        finally:
            self._held -= room.taken

    async def read(self, request: Request, room: _Room) -> bytes:
        """The body of a JSON request.

        Raises:
            Refused: 415 for another content type, 413 for a body over the limit, 408 for one that stopped arriving, 429
                where the server holds as much as it may.
            ClientGoneError: The connection was closed.
        """
        _check_content_type(request)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_body_bytes:
            raise self._too_large()
        body = bytearray()
        async for chunk in self._chunks(request):
            if len(body) + len(chunk) > self._settings.max_body_bytes:
                raise self._too_large()
            self._take(room, len(chunk))
            body += chunk
        return bytes(body)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        more = True
        while more:
            try:
                message = await asyncio.wait_for(request.receive(), self._settings.body_timeout_s)
            except TimeoutError:
                raise Refused(408, "expected the rest of the body, none came: send it whole", code="request_timeout"
                              ) from None  # fmt: skip
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            yield message.get("body", b"")
            more = message.get("more_body", False)

    def _take(self, room: _Room, count: int) -> None:
        if self._held > room.taken and self._held + count > self._settings.queue_bytes:
            raise overloaded("expected room for the body, other requests fill it", code="queue_bytes_full")
        self._held += count
        room.taken += count

    def _too_large(self) -> Refused:
        return Refused(
            413,
            f"expected a body of at most {self._settings.max_body_bytes:,} bytes, got more: "
            "send the rows in several requests",
            code="request_too_large",
        )


@dataclass(eq=False)
class _Room:
    taken: int = 0  # bytes


async def unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of the work, which is cancelled when the client closes its connection.

    Raises:
        ClientGoneError: It did.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for one in (task, watcher):
            one.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A JSON value.

    Raises:
        RequestError: ``request_not_json``.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise not_json() from None


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; float32 arrays in it are printed in the fewest digits that read back as the same bits."""
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, dict(headers or {}), media_type="application/json")


def _check_content_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != "application/json" or encoding not in ("identity", ""):
        raise Refused(
            415, "expected Content-Type: application/json without Content-Encoding, got another: name it so",
            code="content_type_unsupported",
        )  # fmt: skip
