"""Connections: floods of heads, slow readers, many connections, pipelining, keep-alive, malformed requests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from tests.serve.server_process import TIMEOUT_S, run_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.serve.server_process import ServerProcess

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MIB = 1 << 20
HEAD = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def start(toy_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers for one test."""
    with contextlib.ExitStack() as servers:
        yield lambda *options: servers.enter_context(run_server(tmp_path, "--model", str(toy_bundle), *options))


def read_all(connection: socket.socket) -> bytes:
    """Return what arrives until the server closes."""
    received = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def answer(server: ServerProcess, request: bytes) -> tuple[int, Any]:
    """Return status and JSON of the response to bytes that make the server close the connection."""
    with server.connect() as connection:
        connection.sendall(request)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def ping(connection: socket.socket) -> None:
    """Send a request and read the response; the connection stays open."""
    connection.sendall(HEAD + b"\r\n")
    received = b""
    while not received.endswith(b"pong"):
        received += (part := connection.recv(1 << 16))
        assert part


def memory(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@linux
@pytest.mark.parametrize(
    ("first", "block"),
    [
        (HEAD, (b"X-A: " + b"a" * 65_000 + b"\r\n") * 8),
        (HEAD, b"a:b\r\n" * 20_000),
        (HEAD + b"X-A: ", b"a" * MIB),
        (b"GET /", b"a" * MIB),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"a:b\r\n" * 20_000),
        (CHUNKED + b"1\r\nx\r\n0\r\nX-A: ", b"a" * MIB),
        (CHUNKED + b"1;a=", b"a" * MIB),
        (CHUNKED, b"1;a=" + b"a" * 60_000 + b"\r\nx\r\n"),
        (b"", b"\r\n" * MIB),
    ],
    ids=["lines", "tiny lines", "one line", "URL", "trailers", "one trailer", "extension", "extensions", "blank lines"],
)
def test_a_flood_of_bytes_outside_a_body(server: ServerProcess, first: bytes, block: bytes) -> None:
    before, sent = memory(server.process.pid), 0
    with server.connect() as connection:
        connection.sendall(first)
        with contextlib.suppress(OSError):
            while sent < 60 * MIB:
                connection.sendall(block)
                sent += len(block)
        assert server.get("/ping").status == 200, "others are answered meanwhile"
        assert memory(server.process.pid) < before + 20 * MIB


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"X-A: " + b"a" * 66_000 + b"\r\n\r\n",
        HEAD + b"a:b\r\n" * 12_000 + b"\r\n",
        b"GET /?" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        CHUNKED + b"2\r\n{}\r\n0\r\n" + b"a:b\r\n" * 12_000 + b"\r\n",
    ],
    ids=["line", "lines", "URL", "trailers"],
)
def test_a_head_over_64_kilobytes_is_answered_431(server: ServerProcess, request_: bytes) -> None:
    status, body = answer(server, request_)
    assert (status, body["error"]["code"]) == (431, "request_head_too_large")


def test_a_head_below_64_kilobytes_in_many_parts_is_accepted(server: ServerProcess) -> None:
    head = HEAD + b"X-A: " + b"a" * 64_000 + b"\r\nConnection: close\r\n\r\n"
    with server.connect() as connection:
        for offset in range(0, len(head), 5000):
            connection.sendall(head[offset : offset + 5000])
            time.sleep(0.005)
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_body_in_chunks_of_one_byte_is_accepted_and_trailers_are_no_headers(server: ServerProcess) -> None:
    content = b'{"input_data": {"columns": ["text"], "data": [["x-ray"]]}}' + b" " * 30_000
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
    request = POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body
    with server.connect() as connection:
        connection.sendall(request + b"0\r\nHost: other.example\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "request_", [b"GET / SPDY/9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", HEAD + b"no colon\r\n\r\n"]
)
def test_bytes_that_are_no_request(server: ServerProcess, request_: bytes) -> None:
    status, body = answer(server, request_)
    assert (status, body["error"]["code"]) == (400, "request_malformed")


def test_requests_sent_ahead_are_answered_in_order_and_limited(server: ServerProcess) -> None:
    paths = [b"/ping", b"/version"] * 20
    requests = [b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths]
    with server.connect() as connection:
        connection.sendall(b"".join(requests)[:-2] + b"Connection: close\r\n\r\n")
        bodies = [part.partition(b"\r\n\r\n")[2] for part in read_all(connection).split(b"HTTP/1.1 200 OK")[1:]]
    assert [body == b"pong" for body in bodies] == [path == b"/ping" for path in paths]
    with server.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100_000)
        assert read_all(connection).count(b"pong") < 100_000


def test_slow_readers_are_cut_while_others_are_served(start: Callable[..., ServerProcess]) -> None:
    server = start("--write-timeout-s", "2", "--max-rows", "100000", "--queue-rows", "10000000")
    body = json.dumps({"input_data": {"columns": ["text"], "data": [["x"]] * 30_000}}).encode()
    with contextlib.ExitStack() as connections:
        slow = []
        for number in range(20):
            connection = connections.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            slow.append((connection, number % 2))
        deadline = time.monotonic() + TIMEOUT_S
        while open_sockets(server) > 0:
            assert time.monotonic() < deadline
            assert server.score([None, "x-ray"]).status == 200
            for connection, is_reading in slow:
                with contextlib.suppress(OSError):  # those that read a few bytes are cut too
                    connection.recv(is_reading, socket.MSG_DONTWAIT)
            time.sleep(0.2)
    assert server.stop() in (0, -15)


def test_a_client_that_reads_steadily_is_not_cut(start: Callable[..., ServerProcess]) -> None:
    server = start("--write-timeout-s", "1", "--max-rows", "200000")
    body = json.dumps({"input_data": {"columns": ["text"], "data": [["x"]] * 30_000}}).encode()
    with server.connect() as connection:
        connection.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head, _, received = connection.recv(1 << 20).partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        started = time.monotonic()
        while part := connection.recv(max(1 << 17, length // 15)):
            received += part
            time.sleep(0.25)
    assert time.monotonic() - started > 2, "longer than the limit"
    assert len(received) == length


def test_connections_are_bounded(start: Callable[..., ServerProcess]) -> None:
    server = start("--max-connections", "10")
    with contextlib.ExitStack() as connections:
        idle = [connections.enter_context(server.connect()) for _ in range(8)]
        for connection in idle:
            ping(connection)
        busy = [connections.enter_context(server.connect()) for _ in range(9)]
        for connection in busy:
            connection.sendall(b"GET /")
        assert server.get("/ping").status == 200, "in place of the last one that was idle"
        closed = [connection for connection in idle if connection.recv(1) == b""]
        assert len(closed) == len(idle)
        last = connections.enter_context(server.connect())
        last.sendall(b"GET /")
        status, body = answer(server, HEAD + b"\r\n")
        assert (status, body["error"]["code"]) == (503, "connections_full")
        flood = [connections.enter_context(server.connect()) for _ in range(150)]
        assert len(flood) == 150
    assert server.get("/ping").status == 200


def test_idle_connections_are_open_for_the_keep_alive_time(start: Callable[..., ServerProcess]) -> None:
    server = start("--keep-alive", "2")
    with server.connect() as connection:
        for _ in range(2):
            ping(connection)
            time.sleep(1)
        assert connection.recv(1) == b"", "closed after two seconds"


def open_sockets(server: ServerProcess) -> int:
    """Return the number of the server's open connections that clients have not closed."""
    port = f"{server.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port}") and line[3] == "01" for line in lines)
