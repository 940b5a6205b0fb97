"""Responses to fetches: redirects, errors, sizes, invalid HTTP, timeouts and TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from medimageinsight.serve import urls
from medimageinsight.serve.urls import UrlPolicy, fetch
from tests.serve.image_host import IMAGE, NAME, ImageHost, code_of, error_of, send

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("reachable")
def test_rejects_redirects(image_host: ImageHost, status: int) -> None:
    image_host.answers["/moved"] = send(b"", status=status, headers={"Location": image_host.url("/target")})
    assert code_of(image_host.url("/moved"), image_host.policy()) == "image_url_failed"
    assert image_host.hits == ["/moved"]


@pytest.mark.parametrize("status", [201, 204, 206, 401, 404, 500, 503])
@pytest.mark.usefixtures("reachable")
def test_rejects_other_statuses(image_host: ImageHost, status: int) -> None:
    image_host.answers["/image.png"] = send(b"" if status == 204 else IMAGE, status=status)
    assert code_of(image_host.url(), image_host.policy()) == "image_url_failed"


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Transfer-Encoding": "gzip, chunked"}]
)
@pytest.mark.usefixtures("reachable")
def test_rejects_compressed_responses(image_host: ImageHost, headers: dict[str, str]) -> None:
    image_host.answers["/image.png"] = send(IMAGE, headers=headers)
    assert code_of(image_host.url(), image_host.policy()) == "image_url_failed"


@pytest.mark.usefixtures("reachable")
def test_limits_the_size_of_a_body(image_host: ImageHost) -> None:
    image_host.answers["/unannounced"] = send(IMAGE, announce=False)
    for path in ("/image.png", "/unannounced"):
        assert fetch(image_host.url(path), image_host.policy(max_bytes=len(IMAGE))) == IMAGE
        assert code_of(image_host.url(path), image_host.policy(max_bytes=len(IMAGE) - 1)) == "image_too_large"


@pytest.mark.usefixtures("reachable")
def test_rejects_a_large_content_length_at_once(image_host: ImageHost) -> None:
    def announce_and_wait(handler: BaseHTTPRequestHandler) -> None:
        send(b"", headers={"Content-Length": "1000000000"}, announce=False)(handler)
        image_host.stopped.wait()

    image_host.answers["/image.png"] = announce_and_wait
    assert code_of(image_host.url(), image_host.policy()) == "image_too_large"


@pytest.mark.usefixtures("reachable")
def test_stops_reading_an_endless_body(image_host: ImageHost) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        send(b"", announce=False)(handler)
        while not image_host.stopped.is_set():
            handler.wfile.write(bytes(1 << 16))

    image_host.answers["/image.png"] = pour
    assert code_of(image_host.url(), image_host.policy(max_bytes=1 << 20)) == "image_too_large"


@pytest.mark.parametrize("body", [b"", b"\x89PNG"])
@pytest.mark.usefixtures("reachable")
def test_rejects_truncated_bodies(image_host: ImageHost, body: bytes) -> None:
    image_host.answers["/image.png"] = send(body, headers={"Content-Length": "500"}, announce=False)
    assert code_of(image_host.url(), image_host.policy()) == "image_url_failed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff not HTTP\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nshort",
    ],
    ids=["nothing", "garbage", "no status", "many headers", "a long header", "a bad chunk", "a broken chunk"],
)
@pytest.mark.usefixtures("reachable")
def test_rejects_responses_that_are_not_http(image_host: ImageHost, answer: bytes) -> None:
    image_host.answers["/image.png"] = lambda handler: handler.wfile.write(answer) and None
    assert code_of(image_host.url(), image_host.policy()) == "image_url_failed"


def test_unknown_host_names_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*args: Any, **kwargs: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, f"{NAME} is not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert code_of(f"http://{NAME}/", UrlPolicy(hosts=frozenset({NAME}))) == "image_url_failed"


def assert_times_out(url: str, policy: UrlPolicy) -> None:
    error = error_of(url, policy)
    assert error.code == "image_url_failed"
    assert f"within {policy.timeout_s:g} s" in error.message


TRICKLES = {
    "the status line": b"",
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n",
    "a body without a length": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("start", TRICKLES.values(), ids=TRICKLES)
@pytest.mark.usefixtures("reachable")
def test_slow_hosts_time_out(image_host: ImageHost, start: bytes) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        for _ in range(200):  # each byte is in time, all of them together are not
            handler.wfile.write(b"1")
            image_host.stopped.wait(0.02)

    image_host.answers["/image.png"] = trickle
    assert_times_out(image_host.url(), image_host.policy(timeout_s=0.3))


@pytest.mark.usefixtures("reachable")
def test_silent_hosts_time_out(image_host: ImageHost) -> None:
    image_host.answers["/image.png"] = lambda handler: image_host.stopped.wait() and None
    assert_times_out(image_host.url(), image_host.policy(timeout_s=0.1))


@pytest.mark.usefixtures("reachable")
def test_a_silent_tls_handshake_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and sends nothing
        host = f"{NAME}:{silent.getsockname()[1]}"
        policy = UrlPolicy(hosts=frozenset({host}), timeout_s=0.1)
        assert_times_out(f"https://{host}/", policy)


def test_a_silent_resolver_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def getaddrinfo(*args: Any, **kwargs: Any) -> list[Any]:
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        assert_times_out(f"http://{NAME}/", UrlPolicy(hosts=frozenset({NAME}), timeout_s=0.1))
    finally:
        answered.set()


@pytest.fixture
def tls_host(image_host: ImageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageHost]:
    """The host over TLS, with a trusted certificate for its name."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda sock, name, context: image_host.server_names.append(name)
    image_host.socket = context.wrap_socket(image_host.socket, server_side=True)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    urls._tls_context.cache_clear()
    yield image_host
    urls._tls_context.cache_clear()


@pytest.mark.usefixtures("reachable")
def test_tls_verifies_the_host_name(tls_host: ImageHost) -> None:
    assert fetch(tls_host.url().replace("http:", "https:"), tls_host.policy()) == IMAGE
    assert tls_host.server_names == [NAME]


@pytest.mark.usefixtures("reachable")
def test_rejects_a_certificate_for_another_name(tls_host: ImageHost, resolved: dict[str, list[str]]) -> None:
    resolved["other.test"] = ["127.0.0.1"]
    host = f"other.test:{tls_host.port}"
    assert code_of(f"https://{host}/", UrlPolicy(hosts=frozenset({host}))) == "image_url_failed"
    assert not tls_host.hits


@pytest.mark.usefixtures("reachable")
def test_rejects_an_untrusted_certificate(tls_host: ImageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    urls._tls_context.cache_clear()
    assert code_of(tls_host.url().replace("http:", "https:"), tls_host.policy()) == "image_url_failed"
    assert not tls_host.hits
