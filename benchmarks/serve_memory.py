"""The server's memory while it answers many different requests.

    python benchmarks/serve_memory.py FILES... [--model mini] [--requests 10000] [--clients 4] [--seed 0]

Sends requests to `mi2 serve` on this machine: to every route of its OpenAPI document, and over gRPC where tritonclient
is installed, with the files (those below folders, too), damaged copies of them, bodies that are refused, and clients
that leave before the answer; before that, each file once, to load the libraries. Prints the resident memory after each
tenth of the requests as a Markdown table, and ends with status 1 if the last value exceeds the first by more than 5 %.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight import MedImageInsight, search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TENTHS = 10
MAX_GROWTH = 0.05
TEXTS = 100  # distinct ones, so that the cache of texts does not grow
LEAVES = 0.03  # probabilities of a client that leaves, of a damaged file, of a body that is no JSON
DAMAGED = 0.2
BROKEN = 0.03
_PNG = "iVBORw0KGgo"  # the beginning of the images in the document's examples
_BOUNDARY = "limit-of-parts"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, as a client sends it."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Mixture:
    """Requests of every kind that a server's document describes, chosen at random.

    Args:
        document: The OpenAPI document.
        files: Files to send as images.
        model: The model's name.
    """

    def __init__(self, document: dict[str, Any], files: Sequence[Path], model: str) -> None:
        self._files = files
        self._model = model
        self._routes = [
            (method.upper(), path, media_type, content)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            for media_type, content in (operation.get("requestBody", {}).get("content") or {"": {}}).items()
        ]

    def image(self, rng: random.Random) -> bytes:
        """Return a file, or a damaged copy of one."""
        data = rng.choice(self._files).read_bytes()
        if data and rng.random() < DAMAGED:
            damaged = bytearray(data[: rng.randrange(len(data)) + 1])
            damaged[rng.randrange(len(damaged))] ^= 0xFF
            data = bytes(damaged)
        return data

    def choose(self, rng: random.Random) -> Request:
        """Return a request; routes with a body are chosen more often than others."""
        posts = [route for route in self._routes if route[0] == "POST"]
        method, path, media_type, content = rng.choice(posts if rng.random() < 0.85 else self._routes)
        path = path.replace("{model}", self._model).replace("{name}", "main.js").replace("{version}", "1")
        if method != "POST":
            query = "?store=mixed&id=0" if path in ("/api/map", "/api/picture") else ""
            return Request(method=method, path=path + query)
        headers = {"Content-Type": media_type.replace("*", "png")}
        if media_type == "application/json":
            body = self._json(path, content, rng)
        elif path.startswith("/v2"):
            tensor = b"".join(len(image).to_bytes(4, "little") + image for image in [self.image(rng)])
            parameters = {"binary_data_size": len(tensor)}
            head = json.dumps(
                {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}]}
            ).encode()
            headers["Inference-Header-Content-Length"] = str(len(head))
            body = head + tensor
        elif media_type == "multipart/form-data":
            headers["Content-Type"] += f"; boundary={_BOUNDARY}"
            part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
            files = b"".join(part + self.image(rng) + b"\r\n" for _ in range(rng.randrange(1, 4)))
            body = files + f"--{_BOUNDARY}--\r\n".encode()
        else:
            body = self.image(rng)
        if rng.random() < BROKEN:
            body = body[: len(body) // 2]
        return Request(method=method, path=path, body=body, headers=headers)

    def _json(self, path: str, content: dict[str, Any], rng: random.Random) -> bytes:
        examples = [example["value"] for example in content["examples"].values()]
        if path == "/api/search":
            examples.append({"store": "chest", "image": _PNG})
        body = self._fill(rng.choice(examples), rng)
        if "store" in body:
            body |= {"store": "mixed"} | ({"label": "kind"} if "label" in body else {})
        return json.dumps(body).encode()

    def _fill(self, value: Any, rng: random.Random) -> Any:
        """Replace images of an example by files, and texts by others."""
        if isinstance(value, dict):
            return {name: self._fill(item, rng) for name, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item, rng) for item in value]
        if isinstance(value, str) and _PNG in value:
            return value[: value.index(_PNG)] + base64.b64encode(self.image(rng)).decode()
        if isinstance(value, str) and value.startswith("x-ray chest a"):
            return f"{value} {rng.randrange(TEXTS)}"
        return value


class Clients:
    """Clients that send requests at the same time.

    Args:
        port: The server's.
        mixture: What they send.
        grpc_port: The server's port for gRPC; None without.
    """

    def __init__(self, port: int, mixture: Mixture, grpc_port: int | None) -> None:
        self._port = port
        self._mixture = mixture
        self._grpc_port = grpc_port
        self.statuses: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def send(self, count: int, clients: int, seed: int) -> None:
        """Send so many requests."""
        with ThreadPoolExecutor(clients) as pool:
            shares = [count // clients + (number < count % clients) for number in range(clients)]
            list(pool.map(self._send, shares, [f"{seed} {number}" for number in range(clients)]))

    def warm_up(self, files: Sequence[Path]) -> None:
        """Send each file once, so that the libraries for all formats are loaded."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        for file in files:
            body = json.dumps({"image": base64.b64encode(file.read_bytes()).decode(), "select": "even:4"})
            connection.request("POST", "/api/study", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        connection.close()

    def _send(self, count: int, seed: str) -> None:
        rng = random.Random(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        for _ in range(count):
            if self._grpc_port is not None and rng.random() < 0.05:
                self._count("gRPC " + self._infer(self._mixture.image(rng)))
                continue
            request = self._mixture.choose(rng)
            if rng.random() < LEAVES:
                self._leave(request)
                continue
            connection.request(request.method, request.path, request.body or None, request.headers)
            response = connection.getresponse()
            response.read()
            self._count(str(response.status))
            if rng.random() < 0.1:
                connection.close()
        connection.close()

    def _leave(self, request: Request) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            headers = {"Host": "127.0.0.1", "Content-Length": str(len(request.body)), **request.headers}
            lines = [f"{request.method} {request.path} HTTP/1.1", *map(": ".join, headers.items())]
            with contextlib.suppress(OSError):  # refused before the end
                connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)
        self._count("left")

    def _infer(self, image: bytes) -> str:
        import numpy as np
        from tritonclient import grpc

        tensor = grpc.InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([image], dtype=object))
        with grpc.InferenceServerClient(f"127.0.0.1:{self._grpc_port}") as client:
            try:
                client.infer(self._mixture._model, [tensor])
            except grpc.InferenceServerException as error:
                return str(error.status())
        return "OK"

    def _count(self, status: str) -> None:
        with self._lock:
            self.statuses[status] += 1


def measure(
    files: Sequence[Path], *, model: str, requests: int, clients: int, seed: int = 0
) -> tuple[list[int], collections.Counter[str]]:
    """Return the server's resident bytes after each tenth of the requests, and the statuses of the answers."""
    with tempfile.TemporaryDirectory() as work, run_server(Path(work), model) as (process, port, grpc_port):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/swagger.json")
            document = json.loads(connection.getresponse().read())
        name = document["components"]["schemas"]["ModelName"]["enum"][0]
        mixture = Mixture(document, files, name)
        sender = Clients(port, mixture, grpc_port)
        sender.warm_up(files)
        resident = []
        for tenth in range(TENTHS):
            sender.send(requests // TENTHS, clients, seed + tenth)
            resident.append(resident_bytes(process.pid))
            sys.stderr.write(f"{(tenth + 1) * requests // TENTHS:>7,} requests: {resident[-1] >> 20} MiB\n")
    return resident, sender.statuses


@contextlib.contextmanager
def run_server(work: Path, model: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int | None]]:
    """Run `mi2 serve` with a store; yields the process, its port and that for gRPC."""
    options = ["--store", f"mixed={work / 'store'}", "--image-folders", str(work)]
    _make_store(work, model)
    port, grpc_port = _free_port(), None
    with contextlib.suppress(ImportError):
        import tritonclient.grpc  # noqa: F401 - whether it is installed

        grpc_port = _free_port()
        options += ["--grpc-port", str(grpc_port)]
    command = [sys.executable, "-m", "medimageinsight", "serve", "--port", str(port), "--model", model, *options]
    with (work / "log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise SystemExit((work / "log").read_text("utf-8"))
                time.sleep(0.2)
            yield process, port, grpc_port
        finally:
            process.terminate()


def _make_store(work: Path, model: str) -> None:
    from PIL import Image

    Image.new("RGB", (50, 40), (90, 60, 30)).save(work / "0.png")
    with MedImageInsight.load(model) as opened:
        embedding = opened.embed_images(work / "0.png")
        with search.create_store(work / "store", identity=search.Identity.of(opened)) as store:
            items = [
                search.Item(id=str(number), path="0.png", embedding=embedding, metadata={"kind": "ab"[number % 2]})
                for number in range(20)
            ]
            store.add(items)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return files, and those below folders."""
    found = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [file for file in found if file.is_file() and file.suffix not in (".md", ".csv")]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resident, statuses = measure(
        list_files(options.files),
        model=options.model, requests=options.requests, clients=options.clients, seed=options.seed,
    )  # fmt: skip
    print("| requests | MiB |\n|---:|---:|")
    for tenth, count in enumerate(resident, 1):
        print(f"| {tenth * options.requests // TENTHS:,} | {count / 2**20:.0f} |")
    print("\nAnswers:", ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items())))
    growth = resident[-1] / resident[0] - 1
    print(f"Growth since the first tenth: {growth:.1%}")
    raise SystemExit(growth > MAX_GROWTH)


if __name__ == "__main__":
    main()
