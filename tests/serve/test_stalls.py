"""Decoders and parsers that hang in a real server: readiness shows it, and clients that left hold up nobody."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from tests.serve.gated_server import DECODE, PARSE
from tests.serve.server_process import TIMEOUT_S, b64, make_image, run_server, score_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.serve.server_process import Reply, ServerProcess
    from tests.serve.store_fixtures import ChestStore

CLIENTS = 3 * (os.cpu_count() or 1) + 3  # more than there are decoders
READY = ("/health/ready", "/v2/health/ready", "/v2/models/toy/ready")
GATED = make_image() + DECODE
VIEW = ("POST", "/api/view", json.dumps({"image": b64(GATED)}).encode())
SCORE = ("POST", "/score", json.dumps(score_request([b64(GATED), None])).encode())
THUMBNAIL = ("GET", "/api/picture?store=chest&id=0", b"")


@pytest.fixture(scope="module")
def gate_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate") / "closed"


@pytest.fixture(scope="module")
def gated(
    gate_file: Path, toy_bundle: Path, chest: ChestStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("gated")
    shutil.copytree(chest.images, folder / "images")
    (folder / "images" / "0.png").write_bytes(GATED)
    options = ("--store", f"chest={chest.location}", "--image-folders", str(folder / "images"))
    with run_server(
        folder, "--model", str(toy_bundle), *options,
        module="tests.serve.gated_server", MI2_TEST_GATE=str(gate_file),
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def gate(gate_file: Path, gated: ServerProcess) -> Iterator[Path]:
    """The closed gate; unlinking opens it."""
    wait_for(lambda: all(gated.get(path).status == 200 for path in READY))
    gate_file.touch()
    yield gate_file
    gate_file.unlink(missing_ok=True)


@contextlib.contextmanager
def answered(server: ServerProcess, body: bytes) -> Iterator[list[Reply]]:
    """Send a request in another thread; after the block it has been answered."""
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(server.post("/score", body)))
    asking.start()
    yield replies
    asking.join(TIMEOUT_S)
    assert [reply.status for reply in replies] == [200]


def reason(server: ServerProcess, path: str) -> str | None:
    reply = server.get(path)
    return reply.json["status"] if reply.status == 503 else None


def test_readiness_shows_decoders_that_hang(gated: ServerProcess, gate: Path) -> None:
    rows: list[list[str | None]] = [[b64(make_image(seed) + DECODE), None] for seed in range(CLIENTS)]
    with answered(gated, json.dumps(score_request(*rows)).encode()) as replies:
        for path in READY:
            wait_for(lambda: reason(gated, path) == "decoding_stalled")  # noqa: B023 - called before the next one
        assert int(gated.get(READY[0]).headers["retry-after"]) > 0
        assert gated.get("/health/live").status == 200
        assert not replies
        gate.unlink()
    wait_for(lambda: all(gated.get(path).status == 200 for path in READY))


def test_readiness_shows_parsers_that_hang(gated: ServerProcess, gate: Path) -> None:
    body = json.dumps(score_request([b64(make_image()), None], padding="x" * 100_000, marker=PARSE.decode())).encode()
    with answered(gated, body) as replies:
        wait_for(lambda: reason(gated, READY[0]) == "parsing_stalled")
        assert gated.score([b64(make_image()), "x-ray"]).status == 200, "small bodies need no parser"
        assert not replies
        gate.unlink()
    wait_for(lambda: all(gated.get(path).status == 200 for path in READY))


@pytest.mark.parametrize("request_line", [VIEW, THUMBNAIL], ids=["view", "thumbnail"])
def test_views_that_hang_or_are_left_delay_no_scoring(
    gated: ServerProcess, gate: Path, request_line: tuple[str, str, bytes]
) -> None:
    before = gated.log.count('"status": 499')
    with clients(gated, request_line):
        assert gated.score([b64(make_image(1)), "x-ray"]).status == 200
    wait_for(lambda: gated.log.count('"status": 499') == before + CLIENTS)
    wait_for(lambda: gated.metric("mi2_queue_rows") == 0)
    for seed in range(20):
        assert gated.score([b64(make_image(seed)), "x-ray"]).status == 200
    assert gated.get(READY[0]).status == 200
    gate.unlink()
    assert gated.send(*request_line, headers={"Content-Type": "application/json"}).status == 200


def test_images_whose_clients_left_before_they_were_decoded_are_dropped(gated: ServerProcess, gate: Path) -> None:
    before = gated.metric("mi2_batch_size_sum")
    with clients(gated, SCORE):
        pass
    wait_for(lambda: gated.metric("mi2_queue_rows") == 0)
    gate.unlink()
    assert gated.score([b64(make_image(1)), None]).status == 200
    assert gated.metric("mi2_batch_size_sum") - before < CLIENTS


@contextlib.contextmanager
def clients(server: ServerProcess, request_line: tuple[str, str, bytes]) -> Iterator[None]:
    """Send the request on many connections, and leave without the answers at the block's end."""
    method, path, body = request_line
    head = f"{method} {path} HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with contextlib.ExitStack() as connections:
        for _ in range(CLIENTS):
            connections.enter_context(server.connect()).sendall(head.encode() + b"\r\n\r\n" + body)
        wait_for(lambda: server.metric("mi2_queue_rows") == CLIENTS)
        yield


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.02)
