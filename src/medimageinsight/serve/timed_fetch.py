"""Fetch a small document of an address that the operator chose, within one deadline."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.request
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK_BYTES = 1 << 16


def fetch_within(url: str, *, seconds: float, max_bytes: int) -> bytes:
    """Return the bytes of a URL; proxies of the environment are used, redirects are not followed.

    The timeouts of ``urllib`` are those of each read, which a server that sends a byte at a time never reaches. Here
    the time is that of the whole fetch, from the name's resolution to the last byte: the connection is ended then.

    Args:
        url: A URL of `safe_url`.
        seconds: Time for the whole fetch.
        max_bytes: Maximum size of the document.

    Raises:
        OSError: It cannot be fetched, or not in time.
        ValueError: It is too large.
        http.client.HTTPException: The response is not HTTP.
    """
    connections = _Connections(seconds)
    opener = urllib.request.build_opener(_NoRedirects, _HttpHandler(connections), _HttpsHandler(connections))
    content: Future[bytes] = Future()

    def run() -> None:
        try:
            content.set_result(_read(opener, url, seconds, max_bytes))
        except BaseException as error:
            content.set_exception(error)

    # A thread of its own, since getaddrinfo has no timeout parameter; it ends after the system's own timeout.
    threading.Thread(target=run, name="mi2-fetch-keys", daemon=True).start()
    try:
        return content.result(timeout=seconds)
    finally:
        connections.end()


def _read(opener: urllib.request.OpenerDirector, url: str, seconds: float, max_bytes: int) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - `safe_url`
    content = bytearray()
    try:
        opened = opener.open(request, timeout=seconds)
    except HTTPError as error:  # also a response, which is open
        error.close()
        raise
    with opened as response:
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > max_bytes:
                raise ValueError("too large")
    return bytes(content)


class _Connections:
    """The connections of one fetch, which `end` shuts down in whatever state they are."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._ended = False
        self._opened: list[socket.socket] = []

    def make(self, connection_type: Callable[..., http.client.HTTPConnection], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - urllib's own
        """Return a connection of http.client whose sockets are recorded."""
        connection = connection_type(*args, **options)
        connection._create_connection = self._connect  # type: ignore[attr-defined]
        return connection

    def end(self) -> None:
        """Shut down all connections, and those that open later."""
        with self._lock:
            self._ended = True
            for opened in self._opened:
                with contextlib.suppress(OSError):  # the server has ended it
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()

    def _connect(self, address: tuple[str, int], *_: object) -> socket.socket:
        connected = socket.create_connection(address, self._seconds)
        with self._lock:
            if self._ended:
                connected.close()
                raise TimeoutError
            self._opened.append(connected.dup())  # TLS takes the socket over, and not its duplicate
        return connected


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class _HttpHandler(urllib.request.HTTPHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connections.make, http.client.HTTPConnection), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, connections: _Connections) -> None:
        super().__init__()
        self._connections = connections

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        connection_type = partial(self._connections.make, http.client.HTTPSConnection)
        return self.do_open(connection_type, req, context=ssl.create_default_context())
