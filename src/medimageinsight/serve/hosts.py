"""Refuse requests that another site's page makes a browser send, directly or by its own name for this server.

A server without keys answers everyone who can reach it, and so can the browser on a machine that can. A page whose own
name resolves to 127.0.0.1 (DNS rebinding) could read the answers; the name is then in `Host`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from medimageinsight.serve.http import json_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from medimageinsight.serve.metrics import Metrics

# Orchestrators request these by any name or address, and their answers state nothing.
_PROBE = re.compile(r"/(health/(live|ready)|v2/health/(live|ready)|ping)")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]|[^\s\[\]:/?#@,\\]+)(?::([0-9]{0,5}))?")
_DEFAULT_PORTS = ("", "80", "443")


@dataclass(frozen=True, kw_only=True)
class HostRules:
    """The hosts and origins that a server without keys accepts.

    Names of the loopback interface, the host that it listens on, and the allowed hosts. A server that listens for other
    machines also accepts every IP address, since no name can be re-pointed where none is used, and its machine's name.

    Args:
        host: The host that the server listens on.
        is_local: Whether only this machine can reach the server.
        allowed_hosts: Further hosts: ``mi2.example.org`` with any port, ``mi2.example.org:8443``, ``*.example.org``,
            or ``*`` for all.
        origins: Origins of other sites whose pages may call the server; ``*`` for all.
    """

    host: str
    is_local: bool
    allowed_hosts: Collection[str] = ()
    origins: Collection[str] = ()

    def accepts_host(self, authority: str) -> bool:
        """Return whether the host of a valid ``Host`` header is accepted."""
        name, port = parse_authority(authority) or ("", "")
        address = _address(name)
        if address is not None and (address.is_loopback or not self.is_local):
            return True
        if name == "localhost" or name.endswith(".localhost") or name == self.host.lower().rstrip("."):
            return True
        if not self.is_local and name == socket.gethostname().lower():
            return True
        return "*" in self.allowed_hosts or self._is_allowed(name, port)

    def refuses_page(self, headers: Headers, method: str) -> bool:
        """Return whether a request was made by a page of another site.

        A link from another site to a page of this server is none: the other site cannot read what is shown.
        """
        origin = headers.get("origin")
        if origin is not None:
            if "*" in self.origins or origin in self.origins:
                return False
            if not self._is_own_origin(origin, headers["host"]):
                return True
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return False
        is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return not (is_link and method in ("GET", "HEAD"))

    def _is_own_origin(self, origin: str, authority: str) -> bool:
        """Return whether the origin is this server's own, also behind a proxy that replaces ``Host``."""
        scheme, separator, rest = origin.partition("://")
        parsed = parse_authority(rest)
        if not separator or scheme not in ("http", "https") or parsed is None:
            return False
        name, port = parsed
        own_name, own_port = parse_authority(authority) or ("", "")
        is_own_port = port == own_port or (port in _DEFAULT_PORTS and own_port in _DEFAULT_PORTS)
        return (name == own_name and is_own_port) or self._is_allowed(name, port)

    def _is_allowed(self, name: str, port: str) -> bool:
        return any(
            allowed in (name, f"{name}:{port}") or (allowed.startswith("*.") and name.endswith(allowed[1:]))
            for allowed in self.allowed_hosts
        )


class HostCheck:
    """ASGI middleware that requires one `Host`, and of a server without keys, one that the rules accept.

    Args:
        app: The application.
        rules: Accepted hosts and origins; None accepts all.
        metrics: Counts refused requests.
    """

    def __init__(self, app: ASGIApp, *, rules: HostRules | None, metrics: Metrics) -> None:
        self._app = app
        self._rules = rules
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass a lifespan event on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        is_required = scope["http_version"] not in ("0.9", "1.0")
        if len(hosts) > 1 or (is_required and not hosts) or any(parse_authority(host) is None for host in hosts):
            got = "several" if len(hosts) > 1 else "an invalid one" if hosts else "none"
            return self._refuse(400, "host_invalid", f"expected one Host header, got {got}")
        if self._rules is None or (scope["method"] in ("GET", "HEAD") and _PROBE.fullmatch(scope["path"])):
            return None
        if hosts and not self._rules.accepts_host(hosts[0]):
            return self._refuse(
                421, "host_not_allowed",
                "expected a name of this machine in Host, got another one: start the server with --allowed-hosts and "
                "the name by which it is called, or with --api-key-file",
            )  # fmt: skip
        if hosts and self._rules.refuses_page(headers, scope["method"]):
            return self._refuse(
                403, "origin_not_allowed",
                "expected a request of this server's own page or of a program, got one of another site's page: start "
                "the server with --cors-origins and its origin, or behind a proxy with --allowed-hosts",
            )  # fmt: skip
        return None

    def _refuse(self, status: int, code: str, message: str) -> Response:
        self._metrics.error(code)
        error = {"code": code, "message": message, "type": "invalid_request_error", "param": None}
        return json_response({"error": error}, status)


def parse_authority(authority: str) -> tuple[str, str] | None:
    """Return host, in lower case without brackets, and port, which may be empty; None if the text is no such pair."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or not authority.isascii():
        return None
    return match[1].lower().strip("[]").rstrip("."), match[2] or ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
