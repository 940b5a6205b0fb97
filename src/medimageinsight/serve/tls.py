"""TLS connections whose handshakes are counted and end early."""

from __future__ import annotations

import asyncio
import socket  # noqa: TC003 - in annotations
import ssl  # noqa: TC003 - in annotations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_S = 0.1  # after a failure to accept, such as too many open files


class TlsListener:
    """Listens for TLS connections in place of an event loop's own ``create_server``.

    With the loop's own, a handshake may take a minute, and nothing counts those in progress. Here each has a limited
    time, and too many are refused.

    Args:
        loop: The event loop.
        handshake_timeout_s: Time for a handshake, in seconds.
        is_full: Returns whether a number of handshakes in progress is too large.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, handshake_timeout_s: float, is_full: Callable[[int], bool]
    ) -> None:
        self._loop = loop
        self._create_server = loop.create_server
        self._handshake_timeout_s = handshake_timeout_s
        self._is_full = is_full
        self._handshakes: set[asyncio.Task[None]] = set()

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        *,
        sock: socket.socket,
        ssl: ssl.SSLContext | None = None,
        backlog: int,
    ) -> asyncio.Server | TlsServer:
        """Listen on a socket, as the loop's method of this name."""
        if ssl is None:
            server: asyncio.Server = await self._create_server(protocol_factory, sock=sock, backlog=backlog)
            return server
        sock.listen(backlog)
        sock.setblocking(False)
        return TlsServer(sock, self._loop.create_task(self._accept_all(sock, protocol_factory, ssl)))

    async def _accept_all(
        self, listener: socket.socket, protocol_factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_PAUSE_S)
                continue
            if self._is_full(len(self._handshakes)):
                connection.close()
                continue
            task = self._loop.create_task(self._shake_hands(connection, protocol_factory, context))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(
        self, connection: socket.socket, protocol_factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext
    ) -> None:
        try:
            await self._loop.connect_accepted_socket(
                protocol_factory, connection, ssl=context, ssl_handshake_timeout=self._handshake_timeout_s
            )
        except OSError:  # among them timeouts and ssl.SSLError; the client may have left
            connection.close()


class TlsServer:
    """The part of `asyncio.Server` that uvicorn uses."""

    def __init__(self, listener: socket.socket, accepting: asyncio.Task[Any]) -> None:
        self.sockets = [listener]
        self._accepting = accepting

    def close(self) -> None:
        """Accept no more connections."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until no more connections are accepted."""
        await asyncio.wait({self._accepting})
