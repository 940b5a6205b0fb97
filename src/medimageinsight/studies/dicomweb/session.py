"""HTTP requests to one server with bounds on time, size and number; used by `dicomweb_client` as its session."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.adapters
import requests.auth
import urllib3.connection
import urllib3.connectionpool

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits
from medimageinsight.studies.dicomweb import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_CHUNK_BYTES = 1 << 18
_RETRIED = (408, 429, 500, 502, 503, 504)
_MAX_WAIT_S = 30.0
_MAX_REDIRECTS = 3
_SUCCESS = 300  # status below it


class LimitedSession(requests.Session):
    """A session for one server.

    A request, with its repetitions, ends at a deadline whatever the server does; at most ``connections`` run at once;
    redirects are followed on the same host only; neither proxies nor passwords come from the environment.

    Args:
        url: The server, whose scheme, host and port every request must have.
        token: A bearer token, or a whole value of the header Authorization; empty for none.
        timeout_s: Time of one request with its repetitions, in seconds.
        attempts: How often a request is tried that fails for a reason that may pass.
        wait_s: Wait before the first repetition; it doubles with each.
        max_bytes: Maximum size of a response.
        connections: Maximum number of requests at once.
        ca_file: Certificates of the authorities that are trusted; None are those of certifi.
        sleep: Waits; for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_s: float,
        attempts: int,
        wait_s: float,
        max_bytes: int,
        connections: int,
        ca_file: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = True if ca_file is None else str(ca_file)
        self.auth = _Token(token) if token else None
        self._origin = _origin(url)
        self._timeout_s, self._attempts, self._wait_s = timeout_s, attempts, wait_s
        self._limits = Limits(max_bytes=max_bytes)
        self._free = threading.BoundedSemaphore(connections)
        self._sleep = sleep
        adapter = _Adapter(pool_maxsize=connections)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str, url: str, **arguments: Any) -> requests.Response:  # type: ignore[override]  # noqa: ANN401
        """Return a successful response, whose body is in memory.

        Raises:
            ImageError: The codes begin with ``dicomweb_``; ``image_too_large``.
        """
        deadline = _Deadline(self._timeout_s)
        headers = {**(arguments.pop("headers", None) or {}), "Accept-Encoding": "identity"}
        headers.pop("Host", None)  # dicomweb_client omits the port
        arguments |= {"stream": True, "allow_redirects": False, "headers": headers}
        with self._free:
            for attempt in range(1, self._attempts + 1):
                is_last = attempt == self._attempts
                try:
                    response = self._follow(method, url, deadline, arguments)
                except _TransientError:
                    if is_last:
                        raise errors.unreachable() from None
                    self._wait(attempt, {}, deadline)
                    continue
                if response.status_code < _SUCCESS:
                    return response
                if is_last or response.status_code not in _RETRIED:
                    raise errors.status_error(response.status_code)
                self._wait(attempt, response.headers, deadline)
        raise errors.unreachable()

    def _follow(self, method: str, url: str, deadline: _Deadline, arguments: dict[str, Any]) -> requests.Response:
        """Send a request, and again where the same host redirects it to."""
        for _ in range(_MAX_REDIRECTS + 1):
            if _origin(url) != self._origin:
                raise errors.redirected()
            response = self._send(method, url, deadline, arguments)
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["location"])
        raise errors.redirected()

    def _send(self, method: str, url: str, deadline: _Deadline, arguments: dict[str, Any]) -> requests.Response:
        """Send one request and read its response within the deadline and the size limit."""
        arguments["timeout"] = deadline.remaining()
        with _ended_at(deadline) as ended:
            try:
                response = super().request(method, url, **arguments)
                with contextlib.closing(response):
                    body = bytearray()
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        body += chunk
                        self._limits.check_bytes(len(body))
                announced = response.headers.get("Content-Length", "")
                if ended():  # what arrived until then may look whole
                    raise deadline.error()
                if method != "HEAD" and announced.isdecimal() and int(announced) != len(body):
                    raise _TransientError
            except requests.exceptions.SSLError:
                if ended():
                    raise deadline.error() from None
                raise errors.certificate() from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if isinstance(error, ImageError):
                    raise
                if ended() or isinstance(error, requests.Timeout | TimeoutError):
                    raise deadline.error() from None
                raise _TransientError from None
        response._content = bytes(body)  # what `Response.content` returns
        return response

    def _wait(self, attempt: int, headers: Mapping[str, str], deadline: _Deadline) -> None:
        """Wait before a repetition: as long as the server asks for, else twice as long each time."""
        asked = headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdecimal() else self._wait_s * 2 ** (attempt - 1)
        if min(seconds, _MAX_WAIT_S) >= deadline.remaining():
            raise deadline.error()
        self._sleep(min(seconds, _MAX_WAIT_S))


class _TransientError(Exception):
    """A failure that may pass."""


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, more than 0."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise self.error()
        return seconds

    def error(self) -> ImageError:
        return errors.timed_out(self._seconds)


class _Watched(threading.local):
    """The connections that the request of this thread uses."""

    connections: list[urllib3.connection.HTTPConnection] | None = None


_watched = _Watched()


@contextlib.contextmanager
def _ended_at(deadline: _Deadline) -> Iterator[Callable[[], bool]]:
    """Close the connection of this thread at the deadline, and yield a function that returns whether this was done.

    The timeout of a socket is that of one operation: it starts again with each byte that a slow server sends.
    """
    ended = threading.Event()
    connections: list[urllib3.connection.HTTPConnection] = []

    def end() -> None:
        ended.set()
        for connection in connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # below TLS

    timer = threading.Timer(deadline.remaining(), end)
    timer.daemon = True
    timer.start()
    _watched.connections = connections
    try:
        yield ended.is_set
    finally:
        _watched.connections = None
        timer.cancel()


class _HTTPConnection(urllib3.connection.HTTPConnection):
    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - urllib3's own
        if _watched.connections is not None:
            _watched.connections.append(self)
        super().request(*arguments, **options)


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - urllib3's own
        if _watched.connections is not None:
            _watched.connections.append(self)
        super().request(*arguments, **options)


class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Connections that can be ended at a deadline."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - requests' own
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _Token(requests.auth.AuthBase):
    """Adds the header Authorization; its representation has no token."""

    def __init__(self, token: str) -> None:
        self._value = token if token.startswith(("Basic ", "Bearer ")) else f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
