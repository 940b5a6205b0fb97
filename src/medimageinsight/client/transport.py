"""The wire: one URL, reached over connections that are kept."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from medimageinsight.errors import EndpointError, InputError
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer of the server, whatever its status."""

    status: int
    retry_after_s: int | None
    body: bytes


class ScoringServer:
    """One URL, over kept connections: each is one thread's for a request, so there are as many as such threads."""

    def __init__(self, url: str, key: str | None, *, timeout_s: float, verify: bool | ssl.SSLContext) -> None:
        if not timeout_s > 0:
            raise InputError(f"expected a timeout above 0 seconds, got {timeout_s}", code="timeout_invalid")
        parts = _checked_url(url)
        path = "/score" if parts.path in ("", "/") else parts.path
        self.shown = f"{parts.scheme}://{parts.netloc}{path}"  # a query may hold a secret
        self._target = f"{path}?{parts.query}" if parts.query else path
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"medimageinsight-onnx/{__version__}",
        }
        if key is not None:
            self._headers["Authorization"] = f"Bearer {_checked_key(key)}"
        secure = parts.scheme == "https"
        host, port = str(parts.hostname), parts.port or (443 if secure else 80)
        self._connect: Callable[[], http.client.HTTPConnection]
        if secure:
            tls = _tls_context(verify)
            self._connect = partial(http.client.HTTPSConnection, host, port, timeout=timeout_s, context=tls)
        else:
            self._connect = partial(http.client.HTTPConnection, host, port, timeout=timeout_s)
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def post(self, body: bytes) -> Reply:
        """Send one request. A kept connection that the server has closed in the meantime is replaced.

        Raises:
            OSError: The server cannot be reached, or not in time.
            http.client.HTTPException: It does not speak HTTP, or stopped in the middle.
            EndpointError: `close` was called.
        """
        while True:
            kept = self._take()
            try:
                return self._exchange(kept or self._connect(), body)
            except (ConnectionError, ssl.SSLError):
                if kept is None:
                    raise

    def close(self) -> None:
        """Close all connections, those in use when their request is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> Reply:
        reusable = False
        try:
            if connection.sock is None:
                connection.connect()
            # A server may answer before it has read all, such as that it is too large: the answer says more than this.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", self._target, body, self._headers)
                reusable = True
            response = connection.getresponse()
            reply = Reply(
                status=response.status,
                retry_after_s=_seconds(response.getheader("Retry-After", "")),
                body=response.read(),
            )
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, reusable=reusable and connection.sock is not None)
        return reply

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            if self._closed:
                raise EndpointError(
                    "expected an open endpoint, this one was closed: make another", code="endpoint_closed"
                )
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection, *, reusable: bool) -> None:
        with self._lock:
            if reusable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _checked_url(url: str) -> SplitResult:
    """The URL's parts. One that holds a user's name or blanks is refused: a URL is no place for a secret."""
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
            return parts
    raise InputError(
        "expected a URL such as https://models.example.org/score, got another text: "
        "begin with http:// or https://, and give the key apart from it",
        code="url_invalid",
    )


def _checked_key(key: str) -> str:
    key = key.strip()  # one read from a file ends in a line's end
    if not key or not key.isascii() or not key.isprintable():
        raise InputError("expected a key of printable ASCII characters, got another text", code="key_invalid")
    return key


def _tls_context(verify: bool | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _seconds(retry_after: str) -> int | None:
    """Of a Retry-After header in its form of seconds; RFC 9110 10.2.3 allows a date too, which is not read."""
    return int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()) else None


_BUSY = (429, 503)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_LONGEST_RETRY_AFTER_S = 300.0  # a server that asks for more is not waited for any longer than this


def post(server: ScoringServer, body: bytes, *, retries: int, sleep: Callable[[float], object]) -> Reply:
    """The server's answer, after at most ``retries`` further attempts; the last one may still be that it is busy.

    Args:
        server: Whom to ask.
        body: The request.
        retries: From 0.
        sleep: Waits a number of seconds before a further attempt.

    Raises:
        EndpointError: The server cannot be reached or trusted, or was closed.
    """
    for attempt in range(retries):
        reply = _attempt(server, body)
        if isinstance(reply, Reply) and reply.status not in _BUSY:
            return reply
        sleep(_wait_s(reply, attempt))
    reply = _attempt(server, body)
    if isinstance(reply, EndpointError):
        raise reply
    return reply


def _attempt(server: ScoringServer, body: bytes) -> Reply | EndpointError:
    """The server's answer, or why there is none."""
    try:
        return server.post(body)
    except ssl.SSLCertVerificationError:  # no attempt after this one would fare better
        raise EndpointError(
            "expected a certificate that this machine trusts, got another: give a context that trusts it as verify",
            code="endpoint_untrusted",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        return EndpointError(
            f"expected an answer from the endpoint, got none ({type(error).__name__}): "
            "check the URL, the network and that the server runs",
            code="endpoint_unreachable",
        )


def _wait_s(reply: Reply | EndpointError, attempt: int) -> float:
    """Seconds before the next attempt: the server's word if it gave one, else twice as long each time."""
    if isinstance(reply, Reply) and reply.retry_after_s is not None:
        return min(float(reply.retry_after_s), _LONGEST_RETRY_AFTER_S)
    return min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
