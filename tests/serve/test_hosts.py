"""Hosts and origins that a server without keys accepts, required headers, HEAD, prefixes of proxies."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from medimageinsight.errors import InputError
from medimageinsight.serve.hosts import HostRules
from medimageinsight.serve.settings import load_settings
from tests.serve.described import described, operations
from tests.serve.server_process import run_server, score_request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.server_process import Reply, ServerProcess

KEY = "0123456789abcdef-one"
PAGE = {"Accept": "text/html"}


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["error"]["code"]


def raw(server: ServerProcess, head: str) -> bytes:
    """Return the response to a head, whose last line is added."""
    with server.connect() as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    return received


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "localhost.", "mi2.localhost", "127.0.0.1:8000", "127.8.9.1", "[::1]:8000",
     "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_loopback_names_are_accepted(server: ServerProcess, host: str) -> None:
    assert server.get("/version", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost",
     "10.0.0.1", "0.0.0.0", "[fe80::1]", "2130706433"],
)  # fmt: skip
def test_other_hosts_are_refused_without_keys(server: ServerProcess, host: str) -> None:
    for path in ("/", "/version", "/metrics", "/docs", "/api/map?store=chest", "/api/picture?store=chest&id=0"):
        assert code(server.get(path, Host=host, Accept="text/html")) == (421, "host_not_allowed"), path
    assert code(server.post("/score", score_request([None, "x"]), {"Host": host})) == (421, "host_not_allowed")
    for path in ("/health/live", "/health/ready", "/v2/health/ready", "/ping"):
        assert server.get(path, Host=host).status == 200, "probes use any host"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /ping HTTP/1.1\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: local host\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: user@localhost\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: localhost:port\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: l\xf6calhost\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost:\r\n", 400),
        ("GET /version HTTP/1.0\r\n", 200),
        ("GET /version HTTP/1.0\r\nHost: evil.example\r\n", 421),
    ],
)
def test_a_request_has_one_valid_host(server: ServerProcess, head: str, status: int) -> None:
    response = raw(server, head)
    assert int(response.split()[1]) == status
    if status == 400:
        assert json.loads(response.partition(b"\r\n\r\n")[2])["error"]["code"] == "host_invalid"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_requests_of_other_sites_are_refused(server: ServerProcess, headers: dict[str, str]) -> None:
    assert code(server.get("/api/map?store=chest", **headers)) == (403, "origin_not_allowed")
    assert code(server.post("/score", score_request([None, "x"]), headers)) == (403, "origin_not_allowed")


def test_own_pages_and_links_are_accepted(server: ServerProcess) -> None:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert server.post("/score", score_request([None, "x"]), own).status == 200
    assert server.get("/version", **{"Sec-Fetch-Site": "none"}).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert server.get("/", **PAGE, **link).status == 200
    assert code(server.post("/score", score_request([None, "x"]), link)) == (403, "origin_not_allowed")


def test_every_response_stays_with_its_own_origin(server: ServerProcess) -> None:
    for path in ("/api/picture?store=chest&id=0", "/", "/none", "/metrics", "/page/main.js"):
        assert server.get(path).headers["cross-origin-resource-policy"] == "same-origin", path
    assert server.get("/", Host="evil.example").headers["cross-origin-resource-policy"] == "same-origin"


def test_allowed_hosts_and_origins(toy_bundle: Path, tmp_path: Path) -> None:
    options = ("--allowed-hosts", "mi2.example,*.lab.example,a.example:81", "--cors-origins", "https://app.example")
    with run_server(tmp_path, "--model", str(toy_bundle), *options) as server:
        for host, status in {
            "mi2.example": 200, "MI2.example:443": 200, "x.lab.example": 200, "lab.example": 421, "a.example:81": 200,
            "a.example": 421, "evil.example": 421, "localhost": 200,
        }.items():  # fmt: skip
            assert server.get("/version", Host=host).status == status, host
        # The page's own requests, through a proxy that replaces Host.
        assert server.post("/score", score_request([None, "x"]), {"Origin": "https://mi2.example"}).status == 200
        foreign = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        reply = server.post("/score", score_request([None, "x"]), foreign)
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://app.example")
        assert server.get("/version", Host="evil.example", **foreign).status == 421


def test_a_server_with_keys_accepts_every_host(toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    file.chmod(0o600)
    with run_server(tmp_path, "--model", str(toy_bundle), "--api-key-file", str(file)) as server:
        headers = {"Authorization": f"Bearer {KEY}", "Host": "mi2.example", "Origin": "https://app.example"}
        assert server.get("/v1/models", **headers).status == 200
        assert raw(server, "GET /version HTTP/1.1\r\n").startswith(b"HTTP/1.1 400")


def test_a_server_for_other_machines_accepts_addresses_but_no_names() -> None:
    rules = HostRules(host="0.0.0.0", is_local=False)
    for host in ("10.0.0.1:8000", "[fd00::1]", "127.0.0.1", "localhost", socket.gethostname().lower()):
        assert rules.accepts_host(host), host
    assert not rules.accepts_host("evil.example")
    assert HostRules(host="mi2.lan", is_local=False).accepts_host("MI2.lan:8000")
    assert HostRules(host="127.0.0.1", is_local=True, allowed_hosts=("*",)).accepts_host("evil.example")


@pytest.mark.parametrize("host", ["https://a.example", "a.example/mi2", "a b", "a.*", ""])
def test_invalid_hosts_are_refused_as_options(host: str) -> None:
    if host:
        with pytest.raises(InputError, match="allowed_hosts"):
            load_settings(["--allowed-hosts", host])
    assert load_settings(["--allowed-hosts", "A.example.,[::2]"]).allowed_hosts == ("a.example", "::2")


QUERIES = {"/api/map": "?store=chest", "/api/picture": "?store=chest&id=0&size=16"}


@pytest.mark.parametrize("path", [path for method, path, _ in operations(described()) if method == "get"])
def test_head_is_answered_as_get_without_a_body(server: ServerProcess, path: str) -> None:
    url = path.replace("{model}", "toy").replace("{name}", "main.js") + QUERIES.get(path, "")
    head, get = server.send("HEAD", url), server.get(url)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":  # its values change
        assert head.headers["content-length"] == get.headers["content-length"]
    with server.connect() as connection:  # nothing but the head is sent
        connection.sendall(f"HEAD {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    assert received.endswith(b"\r\n\r\n")
    assert received.count(b"\r\n\r\n") == 1


def test_head_is_documented_and_other_methods_are_refused(server: ServerProcess) -> None:
    paths = server.get("/swagger.json").json["paths"]
    for methods in paths.values():
        assert ("head" in methods) == ("get" in methods)
    assert server.send("DELETE", "/ping").headers["allow"] == "GET, HEAD"
    reply = server.send("HEAD", "/score")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert '"method": "HEAD", "route": "/ping"' in server.log or server.send("HEAD", "/ping").status == 200


def test_a_byte_order_mark_before_json_is_ignored(server: ServerProcess) -> None:
    for path, content in {
        "/score": score_request([None, "x-ray"]),
        "/v1/embeddings": {"input": "x-ray"},
        "/api/compare": {"a": [{"text": "x"}], "b": [{"text": "x"}]},
    }.items():
        assert server.post(path, b"\xef\xbb\xbf" + json.dumps(content).encode()).status == 200, path


@pytest.mark.parametrize("spelling", ["mi2", "/mi2", "/mi2/", "mi2/", "//mi2//"])
def test_every_spelling_of_the_root_path_is_the_same(spelling: str) -> None:
    assert load_settings(["--root-path", spelling]).root_path == "/mi2"
    assert load_settings(["--root-path", f"/tools/{spelling}"]).root_path == "/tools/mi2"


@pytest.mark.parametrize("root_path", ["", "/"])
def test_no_root_path(root_path: str) -> None:
    assert load_settings(["--root-path", root_path]).root_path == ""


@pytest.mark.parametrize("root_path", ["https://a.example/mi2", "/mi2?x", "/mi 2"])
def test_a_root_path_is_a_path(root_path: str) -> None:
    with pytest.raises(InputError, match="root_path"):
        load_settings(["--root-path", root_path])


def test_proxies_may_remove_the_prefix_or_leave_it(toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    file.chmod(0o600)
    options = ("--model", str(toy_bundle), "--root-path", "mi2/", "--api-key-file", str(file))
    with run_server(tmp_path, *options) as server:
        for prefix in ("", "/mi2", "/mi2/", "/"):
            assert server.get(f"{prefix}/health/ready").status == 200, prefix
            assert server.get(f"{prefix}/v1/models").status == 401, prefix
            server.headers = {"Authorization": f"Bearer {KEY}"}
            assert server.get(f"{prefix}/v1/models").status == 200, prefix
            assert server.post(f"{prefix}/score", score_request([None, "x"])).status == 200, prefix
            error = server.post(f"{prefix}/v1/embeddings", {"input": 5}).json["error"]
            assert error["type"] == "invalid_request_error", "the protocol's own form"
            assert server.get(f"{prefix}/page/main.js").status == 200
            server.headers = {}
        assert server.get("/mi2").body == b"Healthy"
        reply = server.get("/mi2?a=b", **PAGE)
        assert (reply.status, reply.headers["location"]) == (307, "/mi2/?a=b")
        assert server.get("/mi2x/ping").status == 401, "another path"
