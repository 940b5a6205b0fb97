"""Faults that break servers, injected into a running one. Each test first shows that the input is faulty."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from tests.serve.server_process import TIMEOUT_S, b64, make_image, run_server, score_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def start(toy_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers for one test."""
    with contextlib.ExitStack() as servers:
        yield lambda *options: servers.enter_context(run_server(tmp_path, "--model", str(toy_bundle), *options))


def features(reply: Any, row: int = 0) -> np.ndarray:
    return np.float32(reply.json[row]["image_features"][0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)


def test_corrupt_images_under_load(server: ServerProcess, toy: MedImageInsight) -> None:
    images = [make_image(seed) for seed in range(40)]
    for index in range(0, 40, 10):
        images[index] = images[index][:100]
        with pytest.raises(OSError, match=r"[Tt]runcated"):
            Image.open(io.BytesIO(images[index])).load()
    expected = toy.embed_images(images, errors="return")

    def ask(number: int) -> None:
        index = number % 40
        reply = server.score([b64(images[index]), None])
        if index % 10:
            np.testing.assert_allclose(features(reply), expected[index], atol=1e-6)
        else:
            assert (reply.status, reply.json["error"]["code"]) == (422, "image_truncated")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(400)))


def test_an_image_of_one_pixel(server: ServerProcess, toy: MedImageInsight) -> None:
    image = make_image(size=(1, 1))
    assert Image.open(io.BytesIO(image)).size == (1, 1)
    np.testing.assert_array_equal(features(server.score([b64(image), None])), toy.embed_images(image))


def test_nan_pixels(server: ServerProcess) -> None:
    encoded = io.BytesIO()
    Image.fromarray(np.full((20, 20), np.nan, np.float32)).save(encoded, format="TIFF")
    assert np.isnan(np.asarray(Image.open(io.BytesIO(encoded.getvalue())))).all()
    good, bad = server.score([b64(make_image()), None], [b64(encoded.getvalue()), None]).json
    assert bad["error"]["code"] == "image_not_finite"
    assert np.isfinite(good["image_features"]).all()


@linux
def test_a_decompression_bomb(server: ServerProcess) -> None:
    side = 50_000

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    zeros = zlib.compressobj(9)
    packed = zeros.compress(bytes(1 << 24)) + zeros.flush()
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    assert len(bomb) < 100_000
    assert 3 * side * side > 7e9, "bytes, if it were decoded"
    before = memory(server.process.pid)
    reply = server.score([b64(bomb), None], [b64(make_image()), None])
    assert reply.json[0]["error"]["code"] == "image_too_large"
    assert "image_features" in reply.json[1]
    assert memory(server.process.pid) < before + (200 << 20)


@linux
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_of_200_megabytes(server: ServerProcess, chunked: bool) -> None:
    block, blocks = bytes(1 << 20), 200
    before = memory(server.process.pid)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json"}
    if not chunked:
        headers["Content-Length"] = str(len(block) * blocks)
    connection.request("POST", "/score", (block for _ in range(blocks)), headers, encode_chunked=chunked)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "request_too_large")
    connection.close()
    assert server.score([None, "x-ray"]).status == 200
    assert memory(server.process.pid) < before + (150 << 20), "a body over the limit is not stored"


def test_a_client_disconnects_while_sending(server: ServerProcess) -> None:
    before = server.log.count('"status": 499')
    with server.connect() as connection:
        head = b"POST /score HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        connection.sendall(head)
        time.sleep(0.1)
    wait_for(lambda: server.log.count('"status": 499') > before)
    assert server.score([None, "x-ray"]).status == 200


def test_a_client_disconnects_before_the_response(server: ServerProcess) -> None:
    body = slow_request()
    started = time.monotonic()
    assert server.post("/score", body).status == 200
    assert time.monotonic() - started > 0.2, "long enough to leave in the midst"
    before = server.log.count('"status": 499')
    with server.connect() as connection:
        head = (
            "POST /score HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        wait_for(lambda: server.metric("mi2_queue_rows") > 0)
    wait_for(lambda: server.log.count('"status": 499') > before)
    wait_for(lambda: server.metric("mi2_queue_rows") == 0)
    assert server.score([None, "x-ray"]).status == 200


def test_slow_loris(start: Callable[..., ServerProcess]) -> None:
    server = start("--header-timeout-s", "1", "--body-timeout-s", "1")
    heads = [b"", b"GET / HT", b"POST /score HTTP/1.1\r\nHost: [::1]\r\nX-A: b\r\n"]
    bodies = [b"POST /score HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"]
    with contextlib.ExitStack() as open_sockets:
        connections = [open_sockets.enter_context(server.connect()) for _ in range(100)]
        for index, connection in enumerate(connections):
            connection.sendall((heads + bodies)[index % 4])
        assert len(connections) == 100
        assert server.score([None, "x-ray"]).status == 200, "other clients are answered meanwhile"
        answers = []
        for connection in connections:
            received = b""
            while part := connection.recv(1 << 16):  # ends when the server closes
                received += part
                if b"\r\n\r\n" in received:
                    break
            answers.append(received.split(b"\r\n")[0])
    assert answers == [b"", b"", b"", b"HTTP/1.1 408 Request Timeout"] * 25


def test_a_slow_head_on_a_reused_connection(start: Callable[..., ServerProcess]) -> None:
    server = start("--header-timeout-s", "1")
    with server.connect() as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: [::1]\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in b"GET /ping HTTP/1.1\r\n" * 1000:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - started < 20, "1,000 s without a limit"


def test_a_full_queue(start: Callable[..., ServerProcess], toy: MedImageInsight) -> None:
    server = start("--queue-rows", "4")
    images = [make_image(seed, size=(1200, 1200)) for seed in range(3)]
    expected = toy.embed_images(images)
    body = json.dumps(score_request(*([b64(image), None] for image in images))).encode()
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: server.post("/score", body), range(24)))
    full = [reply for reply in replies if reply.status == 429]
    answered = [reply for reply in replies if reply.status == 200]
    assert full
    assert answered
    assert len(full) + len(answered) == 24
    for reply in full:
        assert reply.json["error"]["code"] == "queue_full"
        assert int(reply.headers["retry-after"]) >= 1
    for reply in answered:
        for row in range(3):
            np.testing.assert_allclose(features(reply, row), expected[row], atol=1e-6)
    assert server.post("/score", body).status == 200, "it recovers"


def test_sigterm_under_load(start: Callable[..., ServerProcess], toy: MedImageInsight) -> None:
    server = start("--drain-delay-s", "1")
    images = [make_image(seed, size=(300, 300)) for seed in range(8)]
    expected = toy.embed_images(images)
    bodies = [json.dumps(score_request([b64(image), None])).encode() for image in images]
    statuses: list[list[int]] = [[] for _ in bodies]

    def ask(client: int) -> None:
        """Send requests on one connection until the server refuses them."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
        status = 0
        while status != 503:
            connection.request("POST", "/score", bodies[client], {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer, status = json.loads(response.read()), response.status
            statuses[client].append(status)
            if status == 200:
                found = np.float32(answer[0]["image_features"][0])
                np.testing.assert_allclose(found, expected[client], atol=1e-6)
            else:
                assert answer["error"]["code"] == "server_draining"
        connection.close()

    with ThreadPoolExecutor(len(bodies)) as pool:
        clients = [pool.submit(ask, client) for client in range(len(bodies))]
        wait_for(lambda: all(len(seen) > 5 for seen in statuses))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.result(TIMEOUT_S)  # every request was answered and no connection broke
    assert server.process.wait(TIMEOUT_S) in (0, -signal.SIGTERM)


def test_accepted_requests_are_answered_after_sigterm(start: Callable[..., ServerProcess]) -> None:
    server = start()
    body = slow_request()
    reply: list[Any] = []
    asking = threading.Thread(target=lambda: reply.append(server.post("/score", body)))
    asking.start()
    wait_for(lambda: server.metric("mi2_queue_rows") > 0)
    server.process.send_signal(signal.SIGTERM)
    asking.join(TIMEOUT_S)
    assert reply[0].status == 200
    assert len(reply[0].json) == 40
    assert server.process.wait(TIMEOUT_S) in (0, -signal.SIGTERM)


@linux
def test_a_worker_process_killed(start: Callable[..., ServerProcess]) -> None:
    server = start("--workers", "2")
    wait_for(lambda: len(workers(server)) == 2)
    victim = workers(server)[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in workers(server))
    statuses = []
    wait_for(lambda: len(workers(server)) == 2)
    for _ in range(40):
        with contextlib.suppress(OSError):  # a connection that the dead worker had accepted
            statuses.append(server.score([None, "x-ray"]).status)
    assert statuses
    assert set(statuses) <= {200, 503}, "503 while the new worker loads its model"
    server.wait_until_ready()
    wait_for(lambda: server.score([None, "x-ray"]).status == 200)


@linux
def test_memory_does_not_grow_with_the_number_of_requests(start: Callable[..., ServerProcess]) -> None:
    server = start("--no-access-log", "--text-cache", "100")
    rng = np.random.default_rng(0)
    bodies = []
    for number in range(200):
        rows: list[list[str | None]] = [
            [b64(make_image(number, (20 + number, 30))), None] for _ in range(1 + number % 4)
        ]
        rows += [[None, f"x-ray {rng.integers(1000)} {number}"]] * (number % 3)
        if number % 10 == 0:
            rows = [[b64(b"no image"), None]]
        bodies.append(json.dumps(score_request(*rows)).encode())

    def ask(numbers: range) -> set[int]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
        statuses = set()
        for number in numbers:
            connection.request("POST", "/score", bodies[number % 200], {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            statuses.add(response.status)
        connection.close()
        return statuses

    def ask_all(numbers: range) -> set[int]:
        with ThreadPoolExecutor(8) as pool:
            return set().union(*pool.map(ask, [numbers[client::8] for client in range(8)]))

    statuses = ask_all(range(1000))
    after_1000 = memory(server.process.pid)
    statuses |= ask_all(range(1000, 10_000))
    assert statuses == {200, 422}
    assert memory(server.process.pid) < 1.05 * after_1000


def slow_request() -> bytes:
    """Return a request with forty images that are small but slow to decode."""
    rows: list[list[str | None]] = []
    for seed in range(40):
        encoded = io.BytesIO()
        Image.new("RGB", (2500, 2500), (seed, 0, 0)).save(encoded, format="PNG", compress_level=1)
        rows.append([b64(encoded.getvalue()), None])
    return json.dumps(score_request(*rows)).encode()


def memory(process: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def workers(server: ServerProcess) -> list[int]:
    """Return the worker processes: children of the started process, without Python's resource tracker."""
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
