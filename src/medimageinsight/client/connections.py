"""Connections to one server on the standard library, and the interface that all connections have."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from medimageinsight.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URL that requests are sent to, in parts."""

    scheme: str  # http or https
    netloc: str  # host and port as in the URL
    host: str
    port: int
    target: str  # path and query

    def __str__(self) -> str:
        """Return the URL without its query, which may contain a secret."""
        return f"{self.scheme}://{self.netloc}{self.target.partition('?')[0]}"


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response of the server, of any status."""

    status: int
    retry_after_s: int | None
    body: bytes


class Connections(Protocol):
    """Persistent connections to one server; thread-safe."""

    def post(self, body: bytes) -> Response:
        """Send one request and read the response.

        Raises:
            EndpointError: The server cannot be reached (``endpoint_unreachable``) or its certificate is not trusted
                (``endpoint_untrusted``).
        """

    def close(self) -> None:
        """Close all connections; called when no request is in progress."""


class HttpClientConnections:
    """Connections of ``http.client``: direct ones only, as many as there are concurrent requests."""

    def __init__(
        self, address: Address, headers: Mapping[str, str], *, timeout_s: float, tls: ssl.SSLContext | None
    ) -> None:
        self._target = address.target
        self._headers = dict(headers)
        self._connect: Callable[[], http.client.HTTPConnection]
        if tls is None:
            self._connect = partial(http.client.HTTPConnection, address.host, address.port, timeout=timeout_s)
        else:
            self._connect = partial(
                http.client.HTTPSConnection, address.host, address.port, timeout=timeout_s, context=tls
            )
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def post(self, body: bytes) -> Response:
        """Send one request; an idle connection that the server has closed is replaced."""
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            try:
                return self._exchange(idle or self._connect(), body)
            except (OSError, http.client.HTTPException) as error:
                if idle is None or not isinstance(error, ConnectionError | ssl.SSLError):
                    raise connection_error(error) from None

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle = []

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> Response:
        reusable = False
        try:
            if connection.sock is None:
                connection.connect()
            # A server may respond before it has read everything, for example that the body is too large.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", self._target, body, self._headers)
                reusable = True
            received = connection.getresponse()
            response = Response(
                status=received.status,
                retry_after_s=parse_retry_after(received.getheader("Retry-After", "")),
                body=received.read(),
            )
        except BaseException:
            connection.close()
            raise
        if reusable and connection.sock is not None:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()
        return response


def connection_error(error: BaseException) -> EndpointError:
    """Return the error for a request without a response; of its cause, only the type is reported."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndpointError(
            "expected a certificate that this machine trusts, got an untrusted one: "
            "pass a context that trusts it as verify",
            code="endpoint_untrusted",
        )
    return EndpointError(
        f"expected an answer from the endpoint, got none ({type(error).__name__}): "
        "check the URL, the network and that the server runs",
        code="endpoint_unreachable",
    )


def parse_retry_after(value: str) -> int | None:
    """Return the seconds of a Retry-After header; its date form (RFC 9110 10.2.3) is ignored."""
    return int(value) if re.fullmatch(r"[0-9]{1,9}", value.strip()) else None
