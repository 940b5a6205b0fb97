"""HTTP/1.1 connections with limits: of a request's head, of slow and of many clients."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from medimageinsight.serve.tls import TlsListener

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MAX_HEAD_BYTES = 64 << 10  # of a request's URL, headers and trailers
_OVERHEAD = 16  # bytes of chunk sizes and extensions for a byte of a body; chunks of one byte need five
_MAX_PIPELINED = 64  # requests that a connection may send ahead
_MIN_BYTES_READ = 64 << 10  # of a response, within the write timeout
_LINGER_S = 2.0  # a connection closed at once is reset, and its client may never see why
_MAX_LINGERING = 64


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, and limits of connections.

    Args:
        app: The application.
        head_timeout_s: Time for a request's head to arrive, and for a TLS handshake, in seconds.
        write_timeout_s: Longest pause of a client that reads a response, in seconds.
        max_connections: Open connections, above which the longest idle one is closed or a new one refused.
        options: uvicorn's own.
    """

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - uvicorn's own
        *,
        head_timeout_s: float,
        write_timeout_s: float,
        max_connections: int,
        **options: Any,  # noqa: ANN401 - uvicorn's own
    ) -> None:
        super().__init__(app, http=LimitedProtocol, **options)
        self.head_timeout_s = head_timeout_s
        self.write_timeout_s = write_timeout_s
        self.max_connections = max_connections
        self.connections: Collection[object] = ()  # of the process, known with the first one

    def get_loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Return uvicorn's own, whose loops listen for TLS connections within the same limits."""
        make_loop = super().get_loop_factory() or asyncio.new_event_loop

        def make() -> asyncio.AbstractEventLoop:
            loop = make_loop()
            listener = TlsListener(loop, handshake_timeout_s=self.head_timeout_s, is_full=self._is_full)
            loop.create_server = listener.create_server  # type: ignore[method-assign, assignment]
            return loop

        return make

    def _is_full(self, handshakes: int) -> bool:
        return handshakes + len(self.connections) >= self.max_connections + _MAX_LINGERING


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits for what its keep-alive limit does not cover.

    The head's timer runs from a connection's start or a request's first byte to the end of its head, and from a
    response that was sent before the request's body had ended (such as 413) to the end of that body. Between requests
    uvicorn's keep-alive limit applies; while a request is answered, the application's limits. Another timer runs while
    a part of a response is unread.

    Bytes that belong to no body are counted as they arrive, before the parser has made headers of them.
    """

    config: ServerConfig
    _timer: asyncio.TimerHandle | None = None
    _head_arriving = False
    _refused = False  # what still arrives is discarded
    _head_too_large = False
    _message_began = False  # in the data that is being parsed
    _head_bytes = 0  # of the message, as parsed
    _framing_bytes = 0  # of the message, as received: everything but its body
    _body_bytes = 0  # of the message

    _reading_timer: asyncio.TimerHandle | None = None
    _unread_bytes = 0  # of responses, when the timer was started
    _was_drained = False  # since then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, or refuse one connection too many."""
        super().connection_made(transport)
        self.config.connections = self.connections
        self._start_timer()
        excess = len(self.connections) - self.config.max_connections
        if excess > _MAX_LINGERING:
            transport.abort()
        elif excess > 0 and not self._close_an_idle_connection():
            self._refuse(503, "connections_full", "expected fewer connections, the server has no free one: try again")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_timer()
        if self._reading_timer is not None:
            self._reading_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data within the limits.

        Keeps the timer running while a head is incomplete, also after the end of a previous request.
        """
        if self._refused:
            return
        self._message_began, body_bytes = False, self._body_bytes
        super().data_received(data)
        if self._message_began:
            self._framing_bytes = 0
        else:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
        if self._framing_bytes > MAX_HEAD_BYTES + _OVERHEAD * self._body_bytes:
            self._refuse_head()
        idle = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        if (idle or self._head_arriving) and not self.transport.is_closing() and self.timeout_keep_alive_task is None:
            self._start_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own
        """Refuse what the parser has not accepted."""
        if self._head_too_large:
            self._refuse_head()
        else:
            self._refuse(400, "request_malformed", "expected a request of HTTP/1.1, got bytes of another form")

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._head_arriving = self._message_began = True
        self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the URL."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, and store it unless it is a trailer."""
        self._count_head(len(name) + len(value) + 4)
        if self._head_arriving:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the timer: the head is complete."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise ValueError  # ends the connection
        self._head_arriving = False
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timer if the request was already answered: the connection is idle again."""
        answered = self.cycle.response_complete
        super().on_message_complete()
        if answered:
            self.cycle.more_body = False
            self._stop_timer()

    def on_response_complete(self) -> None:
        """Start the timer if the response was sent before the body had arrived."""
        super().on_response_complete()
        if self.cycle.more_body:
            self._start_timer()
        self._watch_reader()

    def pause_writing(self) -> None:
        """Start the timer of a response that is unread."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Note that a response was read."""
        super().resume_writing()
        self._was_drained = True

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._head_too_large = True
            raise ValueError  # makes the parser stop

    def _refuse_head(self) -> None:
        message = f"expected a URL and headers of at most {MAX_HEAD_BYTES:,} bytes, got more"
        self._refuse(431, "request_head_too_large", message)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer unless another response has begun, and end the connection."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline or not cycle.more_body:
                self.transport.close()  # this response would be taken for that of an earlier request
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_response(status, code, message))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._stop_timer()
        self._timer = self.loop.call_later(min(_LINGER_S, self.config.head_timeout_s), self._abort)

    def _close_an_idle_connection(self) -> bool:
        """Close the connection that has been idle between requests for longest; return False if there is none."""
        idle = [
            (other.timeout_keep_alive_task.when(), number, other.transport)
            for number, other in enumerate(self.connections)
            if isinstance(other, LimitedProtocol)
            and other.timeout_keep_alive_task is not None
            and not other.transport.is_closing()
            and not other.transport.get_write_buffer_size()
        ]
        if idle:
            min(idle)[-1].close()
        return bool(idle)

    def _watch_reader(self) -> None:
        if self._reading_timer is None and (unread := self.transport.get_write_buffer_size()):
            self._unread_bytes, self._was_drained = unread, False
            self._reading_timer = self.loop.call_later(self.config.write_timeout_s, self._check_reader)

    def _check_reader(self) -> None:
        self._reading_timer = None
        read_bytes = self._unread_bytes - self.transport.get_write_buffer_size()
        if read_bytes < min(_MIN_BYTES_READ, self._unread_bytes) and not self._was_drained:
            self._abort()
        else:
            self._watch_reader()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.config.head_timeout_s, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _abort(self) -> None:
        """End the connection without waiting until its client has read what was written."""
        self._timer = None
        self.transport.abort()


def _response(status: int, code: str, message: str) -> bytes:
    content = orjson.dumps(
        {"error": {"code": code, "message": message, "type": "invalid_request_error", "param": None}}
    )
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        *(["retry-after: 1"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        "cross-origin-resource-policy: same-origin",
        "connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
