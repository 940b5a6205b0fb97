"""Fetch images from URLs, only from the hosts that the operator allows.

Against server-side request forgery: a host must be allowed by name, all its addresses must be public, the connection
uses an address that was checked (the name is not resolved again), and redirects and proxies are ignored. One deadline
applies to the whole fetch, from the name's resolution to the last byte.
"""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits
from medimageinsight.serve.related import ACCEPT, names_instance, only_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import ReadableBuffer, WriteableBuffer

MAX_URL_LENGTH = 8192  # characters; most web servers refuse longer ones

_PORTS = {"http": 80, "https": 443}
_URL = re.compile(rf"[!-~]{{1,{MAX_URL_LENGTH}}}")  # urlsplit silently drops other characters
_CHUNK_BYTES = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_PROTOCOL_ASSIGNMENTS = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890; is_global before Python 3.13

_Address: TypeAlias = tuple[socket.AddressFamily, Any]  # the family, and what connect() takes in it


@dataclass(frozen=True, kw_only=True)
class UrlPolicy:
    """The hosts from which images may be fetched, and the limits of a fetch.

        UrlPolicy(hosts=frozenset({"images.example", "pacs.example:8443"}), timeout_s=5)

    Args:
        hosts: Full host names, each for its scheme's default port; another port is allowed as ``name:port``.
        timeout_s: Time of one whole fetch, in seconds.
        max_bytes: Maximum size of one image.
    """

    hosts: frozenset[str]
    timeout_s: float = 10
    max_bytes: int = 100 << 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in self.hosts))  # as urlsplit returns them


def fetch(url: str, policy: UrlPolicy, traceparent: str | None = None) -> bytes:
    """Return the bytes of an http(s) URL. Blocks for at most the policy's ``timeout_s``.

    The URL may be that of an instance on a DICOMweb server (WADO-RS), which sends it as the part of a multipart body.

    Args:
        url: The URL.
        policy: Which URLs are allowed, and the limits.
        traceparent: Value of this header, None for none.

    Raises:
        ImageError: The policy does not allow the URL (``image_url_refused``), it could not be fetched
            (``image_url_failed``), or there are too many bytes (``image_too_large``).
    """
    headers = {"Accept-Encoding": "identity", "Connection": "close"}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    deadline = _Deadline(policy.timeout_s)
    target = _check_url(url, policy.hosts)
    if names_instance(target.path):
        headers["Accept"] = ACCEPT
    try:
        addresses = _resolve(target, deadline)
        with closing(_Connection(target, addresses, deadline)) as connection:
            connection.request("GET", target.path, headers=headers)
            with connection.getresponse() as response:
                _check_head(response)
                body = _read_body(response, Limits(max_bytes=policy.max_bytes))
                image = only_part(response.getheader("Content-Type", ""), body)
    except TimeoutError:
        raise _failed(f"the whole image within {policy.timeout_s:g} s", "a part of it or nothing") from None
    except ssl.SSLCertVerificationError:
        raise _failed("a certificate that is valid for the host", "an invalid one") from None
    except (OSError, UnicodeError, http.client.HTTPException):
        raise _failed("a response over HTTP", "a connection or protocol error") from None
    if image is None:
        raise _failed("one image in multipart/related", "none, several or a malformed body")
    return image


class _Deadline:
    """The end of one fetch."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, more than 0; raise ``TimeoutError`` if there are none."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


@dataclass(frozen=True, kw_only=True)
class _Target:
    """The parts of an allowed URL; ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str


def _check_url(url: str, hosts: frozenset[str]) -> _Target:
    """Return the parts of the URL if it is allowed."""
    if not _URL.fullmatch(url):
        right_length = 0 < len(url) <= MAX_URL_LENGTH
        got = "a space or a character that is not ASCII" if right_length else f"{len(url):,} characters"
        raise _refused(f"1 to {MAX_URL_LENGTH:,} characters, ASCII without spaces", got)
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:  # unbalanced brackets, or an invalid port
        raise _refused("scheme, host and path", "one that cannot be parsed") from None
    if scheme not in _PORTS or not host:
        raise _refused("http or https and a host", "no host" if scheme in _PORTS else "another scheme")
    if "@" in parts.netloc:
        raise _refused("a host only", "a user before it")
    port = _PORTS[scheme] if port is None else port
    if f"{host}:{port}" not in hosts and (host not in hosts or port != _PORTS[scheme]):
        raise _refused("a host and port that the server's operator allows", "one that is not in url_hosts")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(scheme=scheme, host=host, port=port, path=path)


def _resolve(target: _Target, deadline: _Deadline) -> list[_Address]:
    """Return the host's addresses, which must all be public."""
    resolved: Future[list[tuple[Any, ...]]] = Future()

    def resolve() -> None:
        try:
            resolved.set_result(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except Exception as error:
            resolved.set_exception(error)

    # In a separate thread, since getaddrinfo has no timeout parameter; it ends after the system's own timeout.
    threading.Thread(target=resolve, name="mi2-resolve", daemon=True).start()
    addresses = [(info[0], info[4]) for info in resolved.result(timeout=deadline.remaining())]
    if not all(_is_public(address[0]) for _, address in addresses):
        raise _refused("a host with public addresses only", "one with a private address")
    return addresses


def _is_public(address: str) -> bool:
    """Return whether an IP address is public; of an IPv6 address that embeds an IPv4 address, whether that one is."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded_ipv4(ip) or ip
    return ip.is_global and not (
        ip.is_multicast
        or ip.is_reserved
        or ip in _PROTOCOL_ASSIGNMENTS
        or (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local)
    )


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


class _Connection(http.client.HTTPConnection):
    """Connects to resolved addresses, under the host's name, within a deadline."""

    def __init__(self, target: _Target, addresses: Sequence[_Address], deadline: _Deadline) -> None:
        super().__init__(target.host, target.port)
        self.default_port = _PORTS[target.scheme]  # omitted from the Host header
        self._target = target
        self._addresses = addresses
        self._deadline = deadline

    def connect(self) -> None:
        """Connect to the first address that answers; over TLS, verify the host's name."""
        sock = _connect(self._addresses, self._deadline)
        if self._target.scheme == "https":
            sock.settimeout(self._deadline.remaining())  # applies to the whole handshake
            sock = _tls_context().wrap_socket(sock, server_hostname=self._target.host)
        self.sock = _DeadlineSocket(sock, self._deadline)


def _connect(addresses: Sequence[_Address], deadline: _Deadline) -> socket.socket:
    last_error = OSError("no address")
    for tried, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.remaining() / (len(addresses) - tried))  # leaves time for the next address
            sock.connect(address)
        except OSError as error:
            sock.close()
            last_error = error
        else:
            return sock
    raise last_error


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return a context with the system's certificates; cached, since reading them takes milliseconds."""
    return ssl.create_default_context()


class _DeadlineSocket:
    """The part of a socket that http.client uses. Each operation's timeout is the time left until the deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: ReadableBuffer) -> None:
        """Send all bytes."""
        self._sock.settimeout(self._deadline.remaining())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - http.client reads bytes only
        """Return a reader, which keeps the connection open after this object is closed."""
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _check_head(response: http.client.HTTPResponse) -> None:
    """Refuse redirects, errors and compressed responses."""
    if 300 <= response.status < 400:
        raise _failed("the image itself", "a redirect, which is not followed")
    if response.status != http.client.OK:
        raise _failed("status 200", f"{response.status}")
    coding = response.getheader("Content-Encoding", "identity"), response.getheader("Transfer-Encoding", "chunked")
    if tuple(name.strip().lower() for name in coding) != ("identity", "chunked"):
        raise _failed("the image's own bytes", "a compressed response")


def _read_body(response: http.client.HTTPResponse, limits: Limits) -> bytes:
    announced = response.length
    limits.check_bytes(announced or 0)
    body = bytearray()
    while chunk := response.read(_CHUNK_BYTES):
        body += chunk
        limits.check_bytes(len(body))
    if announced is not None and len(body) < announced:
        raise _failed("the whole image", f"{len(body):,} of {announced:,} bytes")
    return bytes(body)


def _refused(expected: str, got: str) -> ImageError:
    return ImageError(
        f"expected a URL with {expected}, got {got}: send the image itself as base64", code="image_url_refused"
    )


def _failed(expected: str, got: str) -> ImageError:
    return ImageError(
        f"expected {expected} from the image's URL, got {got}: correct the URL, or send the image itself as base64",
        code="image_url_failed",
    )
