"""A real HTTP server that scores with the toy bundle, after the responses that a test has scripted; a proxy."""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from medimageinsight.serve import score, to_json

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from medimageinsight import MedImageInsight


KEY = "s3cret-key"
DROP = "drop the connection"


@dataclass
class ScriptedServer:
    """Send the scripted responses first, one a request, then score with the model."""

    model: MedImageInsight
    script: list[Any] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    closes_connections: bool = False
    reads_no_body: bool = False
    url: str = ""

    def respond(self, body: bytes) -> Any:
        """Return ``(status, headers, body)``, or `DROP`."""
        if self.script:
            return self.script.pop(0)
        response = score(body, self.model)
        return response.status, {}, to_json(response)

    def sent_cells(self, column: int) -> list[list[str]]:
        """Return the cells of a column of each request."""
        return [[row[column] for row in body["input_data"]["data"]] for _, _, body in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each response waits for the kernel's acknowledgement of its headers
    scripted: ClassVar[ScriptedServer]

    def setup(self) -> None:
        super().setup()
        self.scripted.connections += 1

    def do_POST(self) -> None:
        body = b"null" if self.scripted.reads_no_body else self.rfile.read(int(self.headers["Content-Length"]))
        self.scripted.requests.append((self.path, dict(self.headers), json.loads(body)))
        response = self.scripted.respond(body)
        self.close_connection = response == DROP or self.scripted.closes_connections or self.scripted.reads_no_body
        if response == DROP:
            return
        status, headers, content = response
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@dataclass
class ProxyServer:
    """A forward proxy; ``requests`` are the request lines it received."""

    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


class ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[ProxyServer]

    def do_POST(self) -> None:
        """Forward one request."""
        self._record()
        parts = urlsplit(self.path)
        upstream = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        upstream.request("POST", parts.path, self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers))
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        self.send_response(response.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self) -> None:
        """Copy bytes both ways until an end closes its connection."""
        self._record()
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: upstream, upstream: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 10)[0]:
                    if not (data := end.recv(65536)):
                        self.close_connection = True
                        return
                    ends[end].sendall(data)

    def _record(self) -> None:
        self.proxy.requests.append((self.command, self.path, self.headers["Proxy-Authorization"]))

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def running(scripted: ScriptedServer, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    handler = type("Handler", (Handler,), {"scripted": scripted})
    with _serving(handler, tls) as port:
        scripted.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        yield scripted


@contextmanager
def running_proxy() -> Iterator[ProxyServer]:
    proxy = ProxyServer()
    with _serving(type("Handler", (ProxyHandler,), {"proxy": proxy})) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def encode(image: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **options)
    return buffer.getvalue()


def rows_response(*rows: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(rows).encode()


def error_response(status: int, code: str = "some_code", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps({"error": {"code": code, "message": "expected this,\ngot that"}}).encode()
