"""A real HTTP server that scores with the toy bundle, after the answers that a test has scripted."""

from __future__ import annotations

import io
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

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
class Scoring:
    """A server that scores with the toy bundle, after the answers that a test has scripted, one a request."""

    model: MedImageInsight
    script: list[Any] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    hangs_up: bool = False
    url: str = ""

    def answer(self, body: bytes) -> Any:
        """``(status, headers, body)``, or `DROP`."""
        if self.script:
            return self.script.pop(0)
        found = score(body, self.model)
        return found.status, {}, to_json(found)

    def cells(self, column: int) -> list[list[str]]:
        """Of each request, the cells of a column."""
        return [[row[column] for row in body["input_data"]["data"]] for _, _, body in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the kernel's acknowledgement of its headers
    scoring: ClassVar[Scoring]

    def setup(self) -> None:
        super().setup()
        self.scoring.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.scoring.requests.append((self.path, dict(self.headers), json.loads(body)))
        answer = self.scoring.answer(body)
        self.close_connection = answer == DROP or self.scoring.hangs_up
        if answer == DROP:
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def running(scoring: Scoring, tls: ssl.SSLContext | None = None) -> Iterator[Scoring]:
    handler = type("Handler", (Handler,), {"scoring": scoring})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        scoring.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        try:
            yield scoring
        finally:
            server.shutdown()
            thread.join()


def encoded(picture: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, form, **options)
    return buffer.getvalue()


def rows(*rows: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(rows).encode()


def refusal(status: int, code: str = "some_code", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps({"error": {"code": code, "message": "expected this,\ngot that"}}).encode()
