"""Images are fetched from allowed public hosts only, for all kinds of URLs, addresses and responses."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from medimageinsight.errors import ImageError
from medimageinsight.serve import urls
from medimageinsight.serve.urls import UrlPolicy, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IMAGE = bytes(range(256)) * 1000
NAME = "images.test"
PUBLIC = "93.184.215.14"


class Site(ThreadingHTTPServer):
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
    server: Site

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


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses by host name, instead of a real resolver; tests change them."""
    names = {NAME: ["127.0.0.1"]}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        return [info for address in names[host] for info in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch, resolved: dict[str, list[str]]) -> None:
    """Treat addresses of this machine as public, so that a fetch from a test's host can succeed."""
    monkeypatch.setattr(urls, "_is_public", lambda address: True)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record every address that a socket connects to."""
    addresses: list[Any] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        addresses.append(address)
        real(sock, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return addresses


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


def assert_times_out(url: str, policy: UrlPolicy) -> None:
    error = error_of(url, policy)
    assert error.code == "image_url_failed"
    assert f"within {policy.timeout_s:g} s" in error.message


@pytest.mark.usefixtures("reachable")
def test_fetches_an_allowed_url(site: Site) -> None:
    assert fetch(site.url("/a/b.png?series=1&x=%20#top"), site.policy()) == IMAGE
    assert site.hits == ["/a/b.png?series=1&x=%20"]
    assert site.headers[0]["Host"] == site.host
    assert site.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.usefixtures("reachable")
def test_host_names_are_case_insensitive(site: Site) -> None:
    policy = UrlPolicy(hosts=frozenset({f"Images.Test:{site.port}"}))
    assert fetch(site.url().replace(NAME, "IMAGES.test").replace("http", "HTTP"), policy) == IMAGE


@pytest.mark.usefixtures("reachable")
def test_bodies_without_a_length(site: Site) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (IMAGE[:5], IMAGE[5:])) + b"0\r\n\r\n"
    site.answers["/chunks"] = send(chunks, headers={"Transfer-Encoding": "chunked"}, announce=False)
    site.answers["/end"] = send(IMAGE, announce=False)
    assert fetch(site.url("/chunks"), site.policy()) == IMAGE
    assert fetch(site.url("/end"), site.policy()) == IMAGE


@pytest.mark.usefixtures("reachable")
def test_proxies_of_the_environment_are_ignored(site: Site, monkeypatch: pytest.MonkeyPatch, connections: Any) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(site.url(), site.policy()) == IMAGE
    assert connections == [("127.0.0.1", site.port)]


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize(
    "url",
    [
        "http://evil.test:{port}/",
        "http://a.images.test:{port}/",
        "http://images.test.evil.test:{port}/",
        "http://images.test.:{port}/",
        "http://127.0.0.1:{port}/",
        "http://images.test/",
        "http://images.test:1/",
        "http://images.test:0/",
        "http://images.test:65536/",
        "http://images.test:x/",
        "http://user:secret@images.test:{port}/",
        "http://secret@images.test:{port}/",
        "http://@images.test:{port}/",
        "http://evil.test\\@images.test:{port}/",
        "http://images.test:{port}\\@evil.test/",
        "http://evil.test#@images.test:{port}/",
        "http://images.test:{port}/\r\nX-Evil: 1",
        "http://ima\tges.test:{port}/",
        "http://images.test:{port}/a b",
        "http://images.test:{port}/é",
        "http://ｉmages.test:{port}/",
        "http://[images.test:{port}/",
        "http:///image.png",
        "http:images.test:{port}/",
        "ftp://images.test:{port}/",
        "file:///etc/passwd",
        "//images.test:{port}/",
        "",
        "http://images.test:{port}/" + "a" * 9000,
    ],
)
def test_refuses_other_urls_without_connecting(site: Site, connections: list[Any], url: str) -> None:
    assert code_of(url.format(port=site.port), site.policy()) == "image_url_refused"
    assert not connections


def test_an_empty_policy_allows_no_host(connections: list[Any]) -> None:
    assert code_of(f"http://{NAME}/", UrlPolicy(hosts=frozenset())) == "image_url_refused"
    assert not connections


@pytest.mark.usefixtures("reachable")
def test_a_name_without_port_allows_only_the_default_port(site: Site, connections: list[Any]) -> None:
    assert code_of(site.url(), UrlPolicy(hosts=frozenset({NAME}))) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.100.100.200",
        "169.254.169.254",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_refuses_names_with_private_addresses(
    resolved: dict[str, list[str]], connections: list[Any], address: str
) -> None:
    policy = UrlPolicy(hosts=frozenset({NAME}))
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        resolved[NAME] = addresses
        assert code_of(f"http://{NAME}/", policy) == "image_url_refused"
        assert code_of(f"https://{NAME}/", policy) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "localhost"])
def test_refuses_local_addresses_even_if_listed(host: str, connections: list[Any]) -> None:
    policy = UrlPolicy(hosts=frozenset({host.strip("[]")}))
    assert code_of(f"http://{host}/", policy) == "image_url_refused"
    assert not connections


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_connects_to_public_addresses(
    resolved: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    connections = []

    def connect(sock: socket.socket, address: tuple[Any, ...]) -> None:
        connections.append(address[:2])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    resolved[NAME] = [address]
    assert code_of(f"https://{NAME}/", UrlPolicy(hosts=frozenset({NAME}))) == "image_url_failed"
    assert connections == [(address, 443)]


@pytest.mark.usefixtures("reachable")
def test_resolves_a_name_once(site: Site, monkeypatch: pytest.MonkeyPatch, connections: list[Any]) -> None:
    resolved_names = []
    patched = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        resolved_names.append(host)
        return patched(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert fetch(site.url(), site.policy()) == IMAGE
    assert resolved_names == [NAME]
    assert connections == [("127.0.0.1", site.port)]


@pytest.mark.usefixtures("reachable")
def test_tries_the_next_address(site: Site, resolved: dict[str, list[str]]) -> None:
    resolved[NAME] = ["127.0.0.2", "127.0.0.1"]  # the site listens on the second only
    assert fetch(site.url(), site.policy()) == IMAGE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.usefixtures("reachable")
def test_rejects_redirects(site: Site, status: int) -> None:
    site.answers["/moved"] = send(b"", status=status, headers={"Location": site.url("/target")})
    assert code_of(site.url("/moved"), site.policy()) == "image_url_failed"
    assert site.hits == ["/moved"]


@pytest.mark.parametrize("status", [201, 204, 206, 401, 404, 500, 503])
@pytest.mark.usefixtures("reachable")
def test_rejects_other_statuses(site: Site, status: int) -> None:
    site.answers["/image.png"] = send(b"" if status == 204 else IMAGE, status=status)
    assert code_of(site.url(), site.policy()) == "image_url_failed"


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Transfer-Encoding": "gzip, chunked"}]
)
@pytest.mark.usefixtures("reachable")
def test_rejects_compressed_responses(site: Site, headers: dict[str, str]) -> None:
    site.answers["/image.png"] = send(IMAGE, headers=headers)
    assert code_of(site.url(), site.policy()) == "image_url_failed"


@pytest.mark.usefixtures("reachable")
def test_limits_the_size_of_a_body(site: Site) -> None:
    site.answers["/unannounced"] = send(IMAGE, announce=False)
    for path in ("/image.png", "/unannounced"):
        assert fetch(site.url(path), site.policy(max_bytes=len(IMAGE))) == IMAGE
        assert code_of(site.url(path), site.policy(max_bytes=len(IMAGE) - 1)) == "image_too_large"


@pytest.mark.usefixtures("reachable")
def test_rejects_a_large_content_length_at_once(site: Site) -> None:
    def announce_and_wait(handler: BaseHTTPRequestHandler) -> None:
        send(b"", headers={"Content-Length": "1000000000"}, announce=False)(handler)
        site.stopped.wait()

    site.answers["/image.png"] = announce_and_wait
    assert code_of(site.url(), site.policy()) == "image_too_large"


@pytest.mark.usefixtures("reachable")
def test_stops_reading_an_endless_body(site: Site) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        send(b"", announce=False)(handler)
        while not site.stopped.is_set():
            handler.wfile.write(bytes(1 << 16))

    site.answers["/image.png"] = pour
    assert code_of(site.url(), site.policy(max_bytes=1 << 20)) == "image_too_large"


@pytest.mark.parametrize("body", [b"", b"\x89PNG"])
@pytest.mark.usefixtures("reachable")
def test_rejects_truncated_bodies(site: Site, body: bytes) -> None:
    site.answers["/image.png"] = send(body, headers={"Content-Length": "500"}, announce=False)
    assert code_of(site.url(), site.policy()) == "image_url_failed"


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
def test_rejects_responses_that_are_not_http(site: Site, answer: bytes) -> None:
    site.answers["/image.png"] = lambda handler: handler.wfile.write(answer) and None
    assert code_of(site.url(), site.policy()) == "image_url_failed"


def test_unknown_host_names_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*args: Any, **kwargs: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, f"{NAME} is not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert code_of(f"http://{NAME}/", UrlPolicy(hosts=frozenset({NAME}))) == "image_url_failed"


TRICKLES = {
    "the status line": b"",
    "headers": b"HTTP/1.1 200 OK\r\nX: ",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n",
    "a body without a length": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("start", TRICKLES.values(), ids=TRICKLES)
@pytest.mark.usefixtures("reachable")
def test_slow_hosts_time_out(site: Site, start: bytes) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        for _ in range(200):  # each byte is in time, all of them together are not
            handler.wfile.write(b"1")
            site.stopped.wait(0.02)

    site.answers["/image.png"] = trickle
    assert_times_out(site.url(), site.policy(timeout_s=0.3))


@pytest.mark.usefixtures("reachable")
def test_silent_hosts_time_out(site: Site) -> None:
    site.answers["/image.png"] = lambda handler: site.stopped.wait() and None
    assert_times_out(site.url(), site.policy(timeout_s=0.1))


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
def secure_site(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The host over TLS, with a trusted certificate for its name."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda sock, name, context: site.server_names.append(name)
    site.socket = context.wrap_socket(site.socket, server_side=True)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    urls._tls_context.cache_clear()
    yield site
    urls._tls_context.cache_clear()


@pytest.mark.usefixtures("reachable")
def test_tls_verifies_the_host_name(secure_site: Site) -> None:
    assert fetch(secure_site.url().replace("http:", "https:"), secure_site.policy()) == IMAGE
    assert secure_site.server_names == [NAME]


@pytest.mark.usefixtures("reachable")
def test_rejects_a_certificate_for_another_name(secure_site: Site, resolved: dict[str, list[str]]) -> None:
    resolved["other.test"] = ["127.0.0.1"]
    host = f"other.test:{secure_site.port}"
    assert code_of(f"https://{host}/", UrlPolicy(hosts=frozenset({host}))) == "image_url_failed"
    assert not secure_site.hits


@pytest.mark.usefixtures("reachable")
def test_rejects_an_untrusted_certificate(secure_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    urls._tls_context.cache_clear()
    assert code_of(secure_site.url().replace("http:", "https:"), secure_site.policy()) == "image_url_failed"
    assert not secure_site.hits
