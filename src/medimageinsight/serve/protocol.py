"""HTTP/1.1 connections that do not wait for ever: a head that trickles in, or a body nobody reads, ends in time."""

from __future__ import annotations

import asyncio  # noqa: TC003 - names a base's attribute
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, and how long a request's head may take to arrive, in seconds."""

    def __init__(self, app: Any, *, head_timeout_s: float, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(app, http=TimedProtocol, **options)
        self.head_timeout_s = head_timeout_s


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a time limit for what its own keep-alive limit does not cover.

    The limit runs from a connection's first moment or a request's first byte to the end of its head, and again from an
    answer that came before its request's body had ended (as 413 does) to that end. Between requests uvicorn's own limit
    holds; while a request is being answered, the application's.
    """

    config: ServerConfig
    _timer: asyncio.TimerHandle | None = None
    _head_arriving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop it."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep the clock running while a head is incomplete, also after another request's end."""
        super().data_received(data)
        idle = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        if (idle or self._head_arriving) and not self.transport.is_closing() and self.timeout_keep_alive_task is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_arriving = True

    def on_headers_complete(self) -> None:
        """The head is whole; the application takes over."""
        self._head_arriving = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; if it was answered before, the connection is idle again."""
        answered = self.cycle.response_complete
        super().on_message_complete()
        if answered:
            self.cycle.more_body = False
            self._stop_timer()

    def on_response_complete(self) -> None:
        """The answer is out; if the body is not in, it has so long to come."""
        super().on_response_complete()
        if self.cycle.more_body:
            self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.config.head_timeout_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()
