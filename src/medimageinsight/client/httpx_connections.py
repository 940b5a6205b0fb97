"""Connections to one server on ``httpx``, the extra ``client``: a pool, direct or through a proxy.

The transport of ``httpx`` is used without its client: no redirects, cookies, decompression or log of the URL.
"""

from __future__ import annotations

import ssl
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import httpx

from medimageinsight.client.connections import Response, connection_error, parse_retry_after
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.client.connections import Address

# Of any number and age: there are as many connections as concurrent requests.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)


class HttpxConnections:
    """A pool of ``httpx`` connections; ``proxy`` or the environment's proxy is used."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None,
        proxy: str | None,
    ) -> None:
        try:
            self._url = httpx.URL(f"{address.scheme}://{address.netloc}{address.target}")
        except httpx.InvalidURL:
            raise InputError("expected a URL with a valid host, got an invalid one", code="url_invalid") from None
        self._headers = {**headers, "Accept-Encoding": "identity"}  # as http.client; the default is gzip and others
        self._timeout = httpx.Timeout(timeout_s).as_dict()
        if tls is None:  # an http URL: without certificates, which take 20 ms to load
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = proxy or _environment_proxy(address)
        try:
            self._transport = httpx.HTTPTransport(verify=tls, limits=_LIMITS, proxy=proxy, trust_env=False)
        except (ImportError, ValueError, httpx.InvalidURL):  # the URL of a proxy may contain a password
            raise InputError(
                "expected the URL of a proxy such as http://proxy.example.org:3128, got an unsupported one: "
                "correct proxy, or HTTP_PROXY and HTTPS_PROXY in the environment",
                code="proxy_invalid",
            ) from None

    def post(self, body: bytes) -> Response:
        """Send one request; a pooled connection that the server has closed is replaced."""
        repeatable = True
        while True:
            events: list[str] = []
            try:
                return self._exchange(body, events)
            except httpx.TransportError as error:
                is_new = any(event.endswith("connect_tcp.started") for event in events)
                if is_new or not repeatable or not isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
                    raise connection_error(_root_cause(error)) from None
                repeatable = False

    def close(self) -> None:
        """Close the pool."""
        self._transport.close()

    def _exchange(self, body: bytes, events: list[str]) -> Response:
        extensions = {"timeout": self._timeout, "trace": lambda event, _: events.append(event)}
        request = httpx.Request("POST", self._url, headers=self._headers, content=body, extensions=extensions)
        with closing(self._transport.handle_request(request)) as response:
            return Response(
                status=response.status_code,
                retry_after_s=parse_retry_after(response.headers.get("Retry-After", "")),
                body=b"".join(response.iter_raw()),
            )


def _environment_proxy(address: Address) -> str | None:
    """Return the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; None for a host in NO_PROXY, or if none is set."""
    if urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _root_cause(error: BaseException) -> BaseException:
    """Return the error of the operating system or of the protocol that the errors of httpx and httpcore wrap."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
