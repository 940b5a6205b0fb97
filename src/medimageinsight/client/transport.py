"""Requests to the URL of a scoring server: its address, its key, repeated requests."""

from __future__ import annotations

import importlib.util
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from medimageinsight.client.connections import Address, HttpClientConnections
from medimageinsight.errors import EndpointError, InputError, missing_extra
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from medimageinsight.client.connections import Connections, Response

_BUSY = (429, 503)
_FIRST_WAIT_S, _MAX_WAIT_S = 0.5, 30.0
_MAX_RETRY_AFTER_S = 300.0  # a server that asks for more is asked again after this


class ScoringServer:
    """One URL, over persistent connections: of ``httpx`` where it is installed, else of ``http.client``."""

    def __init__(
        self, url: str, key: str | None, *, timeout_s: float, verify: bool | ssl.SSLContext, proxy: str | None = None
    ) -> None:
        if not timeout_s > 0:
            raise InputError(f"expected a timeout above 0 seconds, got {timeout_s}", code="timeout_invalid")
        address = _parse_url(url)
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"medimageinsight-onnx/{__version__}",
        }
        if key is not None:
            key = key.strip()  # a key read from a file ends in a line end
            if not key or not key.isascii() or not key.isprintable():
                kind = "an empty text" if not key else "a text with other characters"
                raise InputError(f"expected a key of printable ASCII characters, got {kind}", code="key_invalid")
            headers["Authorization"] = f"Bearer {key}"
        tls = _tls_context(verify) if address.scheme == "https" else None
        self.address = address
        self._connections = _connections(address, headers, timeout_s, tls, proxy)
        self._lock = threading.Lock()
        self._in_progress = 0
        self._closed = False

    def post(self, body: bytes) -> Response:
        """Send one request.

        Raises:
            EndpointError: The server cannot be reached (``endpoint_unreachable``) or trusted (``endpoint_untrusted``),
                or `close` was called (``endpoint_closed``).
        """
        with self._lock:
            if self._closed:
                raise EndpointError("expected an open endpoint, got a closed one: make another", code="endpoint_closed")
            self._in_progress += 1
        try:
            return self._connections.post(body)
        finally:
            with self._lock:
                self._in_progress -= 1
                closing = self._closed and not self._in_progress
            if closing:
                self._connections.close()

    def close(self) -> None:
        """Close all connections, once no request is in progress."""
        with self._lock:
            closing, self._closed = not self._closed and not self._in_progress, True
        if closing:
            self._connections.close()


def post(server: ScoringServer, body: bytes, *, retries: int, sleep: Callable[[float], object]) -> Response:
    """Return the server's response, after up to ``retries`` repeated requests; it may still report a busy server.

    Raises:
        EndpointError: The server cannot be reached or trusted, or was closed.
    """
    for attempt in range(retries):
        wait_s = min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _MAX_WAIT_S)
        try:
            response = server.post(body)
        except EndpointError as error:
            if error.code != "endpoint_unreachable":
                raise
        else:
            if response.status not in _BUSY:
                return response
            if response.retry_after_s is not None:
                wait_s = min(float(response.retry_after_s), _MAX_RETRY_AFTER_S)
        sleep(wait_s)
    return server.post(body)


def has_httpx() -> bool:
    """Return whether the extra ``client`` is installed."""
    return importlib.util.find_spec("httpx") is not None


def _connections(
    address: Address, headers: Mapping[str, str], timeout_s: float, tls: ssl.SSLContext | None, proxy: str | None
) -> Connections:
    if has_httpx():
        from medimageinsight.client.httpx_connections import HttpxConnections

        return HttpxConnections(address, headers, timeout_s=timeout_s, tls=tls, proxy=proxy)
    if proxy is not None:
        raise missing_extra("client", "a connection through a proxy")
    return HttpClientConnections(address, headers, timeout_s=timeout_s, tls=tls)


def _parse_url(url: str) -> Address:
    """Return the parts of a URL; user names and blanks are rejected, since a URL may be logged by servers."""
    with suppress(ValueError):  # a port that is no number, brackets without an address
        parts = urlsplit(url)
        if (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.port != 0
            and "@" not in parts.netloc
            and url.isascii()
            and url.isprintable()
            and " " not in url
        ):
            path = _scoring_path(parts.path)
            return Address(
                scheme=parts.scheme,
                netloc=parts.netloc,
                host=parts.hostname,
                port=parts.port or (443 if parts.scheme == "https" else 80),
                target=f"{path}?{parts.query}" if parts.query else path,
            )
    raise InputError(
        f"expected a URL such as https://models.example.org/score, got a text of {len(url):,} characters: "
        "begin with http:// or https://, and pass the key separately",
        code="url_invalid",
    )


def _scoring_path(path: str) -> str:
    """Return the path of the scoring route, given that route, the server's OpenAI route, or its root with a slash."""
    route = path.rstrip("/")
    server, found, rest = route.rpartition("/v1")
    if found and rest in ("", "/embeddings"):
        return f"{server.rstrip('/')}/score"
    is_root = path.endswith("/") and not route.endswith(("/score", "/invocations"))
    return f"{route}/score" if is_root or not route else route


def _tls_context(verify: bool | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
