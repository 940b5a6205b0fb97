"""HTTP/1.1 connections with time limits for slow request heads and unread bodies."""

from __future__ import annotations

import asyncio  # noqa: TC003 - in the annotation of a class attribute
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class ServerConfig(uvicorn.Config):
    """uvicorn's settings, and the time limit for a request's head, in seconds."""

    def __init__(self, app: Any, *, head_timeout_s: float, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(app, http=TimedProtocol, **options)
        self.head_timeout_s = head_timeout_s


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a time limit for what its keep-alive limit does not cover.

    The timer runs from a connection's start or a request's first byte to the end of its head, and from a response that
    was sent before the request's body had ended (such as 413) to the end of that body. Between requests uvicorn's
    keep-alive limit applies; while a request is answered, the application's limits.
    """

    config: ServerConfig
    _timer: asyncio.TimerHandle | None = None
    _head_arriving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Keep the timer running while a head is incomplete, also after the end of a previous request."""
        super().data_received(data)
        idle = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        if (idle or self._head_arriving) and not self.transport.is_closing() and self.timeout_keep_alive_task is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._head_arriving = True

    def on_headers_complete(self) -> None:
        """Stop the timer: the head is complete."""
        self._head_arriving = False
        self._stop_timer()
        super().on_headers_complete()

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
