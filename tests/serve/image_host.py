"""A host of images on this machine, for fetching from URLs."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from medimageinsight.errors import ImageError
from medimageinsight.serve.urls import UrlPolicy, fetch

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = bytes(range(256)) * 1000
NAME = "images.test"


class ImageHost(ThreadingHTTPServer):
    """A host on this machine with a handler per path, which records its requests."""

    daemon_threads = False  # so that closing it waits for its handlers

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.server_names: list[str | None] = []
        self.stopped = threading.Event()

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def host(self) -> str:
        return f"{NAME}:{self.port}"

    def url(self, path: str = "/image.png") -> str:
        return f"http://{self.host}{path}"

    def policy(self, **settings: Any) -> UrlPolicy:
        return UrlPolicy(hosts=frozenset({self.host}), **settings)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, as several tests do."""


class Handler(BaseHTTPRequestHandler):
    server: ImageHost

    def do_GET(self) -> None:
        self.server.hits.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.answers.get(self.path, send(IMAGE))(self)

    def log_message(self, *args: Any) -> None:
        pass


def send(
    body: bytes, *, status: int = 200, headers: dict[str, str] | None = None, announce: bool = True
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        announced = {"Content-Length": str(len(body))} if announce else {}
        for name, value in (announced | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def error_of(url: str, policy: UrlPolicy) -> ImageError:
    """Return the error of a fetch; its message must not contain parts of the URL."""
    with pytest.raises(ImageError) as caught:
        fetch(url, policy)
    for secret in (url or NAME, NAME, "127.0.0.1", "evil", "secret"):
        assert secret not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


def code_of(url: str, policy: UrlPolicy) -> str:
    return error_of(url, policy).code
