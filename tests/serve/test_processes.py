"""Processes: starts that fail, workers that die, signals, UNIX sockets, the printed address."""

from __future__ import annotations

import http.client
import io
import os
import re
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from tests.serve.server_process import TIMEOUT_S, b64, run_server, score_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.serve.server_process import ServerProcess

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and UNIX sockets")
KEY, OTHER_KEY = "0123456789abcdef-one", "0123456789abcdef-two"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.05)


def write_keys(file: Path, *keys: str) -> None:
    file.write_text("\n".join(keys))
    file.chmod(0o600)


@pytest.fixture
def damaged(toy_bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose files have their size, but no graph in them."""
    bundle = shutil.copytree(toy_bundle, tmp_path / "damaged")
    graph = bundle / "image_encoder.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    return bundle


@pytest.mark.parametrize(
    ("cause", "workers"),
    [("store", "1"), ("port", "1"), ("model", "2"), ("store", "2"), ("key file", "2"), ("port", "2")],
)
def test_a_server_that_cannot_open_something_ends_with_1(
    cause: str, workers: str, toy_bundle: Path, damaged: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {
            "model": ["--model", str(damaged)],
            "store": ["--model", str(toy_bundle), "--store", f"a={tmp_path / 'none'}"],
            "key file": ["--model", str(toy_bundle), "--api-key-file", str(tmp_path / "none")],
            "port": ["--model", str(toy_bundle), "--port", str(listener.getsockname()[1])],
        }[cause]
        with run_server(tmp_path, *options, "--workers", workers, ready=False) as server:
            assert server.process.wait(TIMEOUT_S) == 1
            assert "Traceback" not in server.log


@linux
def test_gauges_of_a_worker_that_died_disappear(toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--workers", "2", "--batch-images", "1") as server:
        body = slow_request()

        def ask() -> None:
            with suppress(OSError, http.client.HTTPException):
                server.post("/score", body)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_for(lambda: server.metric("mi2_queue_rows") > 0)
        before = {pid: cpu_ticks(pid) for pid in workers(server)}
        time.sleep(0.3)
        busy = max(before, key=lambda pid: cpu_ticks(pid) - before[pid])
        os.kill(busy, signal.SIGKILL)
        asking.join(TIMEOUT_S)
        wait_for(lambda: len(workers(server)) == 2 and busy not in workers(server))
        wait_for(lambda: server.metric("mi2_queue_rows") == 0)
        assert server.stop() == 0


@posix
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_reads_the_keys_again_and_interrupts_nothing(workers: str, toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    write_keys(file, KEY)
    options = ("--model", str(toy_bundle), "--api-key-file", str(file), "--workers", workers)
    with run_server(tmp_path, *options) as server:
        server.headers = {"Authorization": f"Bearer {KEY}"}
        body = slow_request()
        wait_for(lambda: all(server.post("/score", score_request([None, "x"])).status == 200 for _ in range(20)))
        replies: list[Any] = []
        asking = threading.Thread(target=lambda: replies.append(server.post("/score", body)))
        asking.start()
        wait_for(lambda: server.metric("mi2_queue_rows") > 0)
        write_keys(file, KEY, OTHER_KEY)
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
        wait_for(lambda: server.log.count("keys were read again") >= int(workers))
        for _ in range(10):
            assert server.get("/v1/models", Authorization=f"Bearer {OTHER_KEY}").status == 200
        asking.join(TIMEOUT_S)
        assert replies[0].status == 200
        assert server.process.poll() is None


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_cannot_start_again_is_tried_as_long_as_others_run(toy_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(toy_bundle, tmp_path / "bundle")
    with run_server(tmp_path, "--model", str(bundle), "--workers", "2") as server:
        wait_for(lambda: len(workers(server)) == 2 and server.log.count('"message": "ready"') == 2)
        (bundle / "manifest.json").unlink()
        os.kill(workers(server)[0], signal.SIGKILL)
        wait_for(lambda: server.log.count("cannot start, and is tried again") == 2)
        assert re.findall(r'"seconds": ([0-9.]+)', server.log) == ["2.0", "4.0"]
        wait_for(lambda: len(workers(server)) == 1)
        assert server.score([None, "x-ray"]).status == 200
        os.kill(workers(server)[0], signal.SIGKILL)
        assert server.process.wait(TIMEOUT_S) == 1
        assert "no worker process can start" in server.log


def test_sighup_without_keys_does_nothing(toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle)) as server:
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "SIGHUP" in server.log)
        assert server.get("/ping").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_port_that_was_free_is_printed(workers: str, toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--port", "0", "--workers", workers, ready=False) as server:
        wait_for(lambda: "Serving on" in server.log)
        found = re.search(r"Serving on http://127\.0\.0\.1:(\d+) for", server.log)
        assert found
        server.port = int(found[1])
        server.wait_until_ready()


def test_a_name_with_two_addresses(toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--host", "localhost") as server:
        for family, *_, address in socket.getaddrinfo("localhost", server.port, type=socket.SOCK_STREAM):
            with socket.socket(family) as connection:
                connection.connect(address)


@posix
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket(workers: str, toy_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "mi2.sock"
    stale = socket.socket(socket.AF_UNIX)  # of a server that was killed
    stale.bind(str(path))
    stale.close()
    options = ("--model", str(toy_bundle), "--uds", str(path), "--workers", workers)
    with run_server(tmp_path, *options, ready=False) as server:
        wait_for(lambda: get_over(path, "/health/ready") == 200)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert f"Serving on unix:{path}" in server.log
        assert get_over(path, "/version", Host="evil.example") == 421
        with run_server(tmp_path, "--model", str(toy_bundle), "--unix-socket", str(path), ready=False) as second:
            assert second.process.wait(TIMEOUT_S) == 1
        assert get_over(path, "/ping") == 200, "the second one has not removed it"
        assert server.stop() in (0, -signal.SIGTERM)
    assert not path.exists()


@posix
def test_a_file_in_place_of_a_unix_socket_is_not_removed(toy_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("text")
    with run_server(tmp_path, "--model", str(toy_bundle), "--unix-socket", str(path), ready=False) as server:
        assert server.process.wait(TIMEOUT_S) == 1
    assert path.read_text() == "text"


def slow_request() -> dict[str, Any]:
    """Return a request with images that are small but slow to decode."""
    rows: list[list[str | None]] = []
    for seed in range(40):
        encoded = io.BytesIO()
        Image.new("RGB", (2500, 2500), (seed, 0, 0)).save(encoded, format="PNG", compress_level=1)
        rows.append([b64(encoded.getvalue()), None])
    return score_request(*rows)


def get_over(path: Path, target: str, **headers: str) -> int:
    """Return the status of a request over a UNIX socket, 0 if there is none yet."""
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", target, headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def workers(server: ServerProcess) -> list[int]:
    """Return the worker processes: children of the started process, without Python's resource tracker."""
    parent = server.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def cpu_ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
