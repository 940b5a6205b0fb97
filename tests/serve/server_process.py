"""A server process for tests, and a client that returns whole responses."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S = 60  # for busy machines
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers (names in lower case) and body of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class ServerProcess:
    """A server on a port of this machine."""

    port: int
    process: subprocess.Popen[bytes]
    log_file: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8")

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Reply(status=response.status, headers=received, body=response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, content: object, headers: Mapping[str, str] | None = None) -> Reply:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json", **(headers or {})})

    def score(self, *rows: list[str | None], **params: Any) -> Reply:
        return self.post("/score", score_request(*rows, **params))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log
            try:
                if self.get("/health/ready").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready in {TIMEOUT_S} s: {self.log}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)


@contextmanager
def run_server(
    folder: Path, *options: str, ready: bool = True, module: str = "medimageinsight", **environment: str
) -> Iterator[ServerProcess]:
    """Run ``mi2 serve`` with these options in a process, which is always stopped at the end.

    Another module than the package's own prepares the process and then calls it.
    """
    port = free_port()
    log_file = folder / f"server-{port}.log"
    command = [sys.executable, "-m", module, "serve", "--port", str(port), *options]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MI2_")}
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**inherited, **environment}, cwd=ROOT)
    server = ServerProcess(port=port, process=process, log_file=log_file)
    try:
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_image(seed: int = 0, size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format=form)
    return encoded.getvalue()


def b64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def score_request(*rows: list[str | None], **params: Any) -> dict[str, Any]:
    return {"input_data": {"columns": ["image", "text"], "data": list(rows)}, "params": params}
