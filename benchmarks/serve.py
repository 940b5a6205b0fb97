"""The server under load, compared with one process that embeds the same bytes without it.

    python benchmarks/serve.py [--images FOLDER] [--clients 64] [--count 512] [--rounds 5]

Each round times, in turn: `embed_images` in a process of its own, on the encoded images in memory; and the given number
of clients, each on its own connection, which send one image per request to `mi2 serve` on this machine. The clients
share the machine, so their CPU time, divided by the number of cores, is subtracted from the wall-clock time. Then an
idle server gets one image at a time, in turn with the same call in this process. Without a folder, the images are the
DICOM files that pydicom contains.

Prints a Markdown table of medians, then all rounds as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.data import get_testdata_file

from medimageinsight import MedImageInsight
from medimageinsight.engine import available_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DICOM = ("CT_small.dcm", "MR_small.dcm", "examples_ybr_color.dcm", "examples_rgb_color.dcm")
IDLE_CALLS = 100


def read_images(folder: Path | None, count: int) -> list[bytes]:
    """Read `count` encoded images, the same ones each time."""
    if folder is None:
        files = [Path(str(get_testdata_file(name, download=False))) for name in DICOM]
    else:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".dcm"))
        random.Random(0).shuffle(files)
    return [files[index % len(files)].read_bytes() for index in range(count)]


def embed_on_demand(pipe: Any, images: list[bytes], model_name: str) -> None:
    """Embed without a server, in a process of its own; sends the seconds for all images on each request."""
    with MedImageInsight.load(model_name) as model:
        model.embed_images(images[:64])
        while pipe.recv():
            started = time.perf_counter()
            model.embed_images(images)
            pipe.send(time.perf_counter() - started)


def load_server(pipe: Any, port: int, bodies: list[bytes], clients: int) -> None:
    """Run the clients, in a process of their own; sends wall-clock and CPU seconds for all images on each request."""
    while pipe.recv():
        cpu = _cpu_seconds()
        started = time.perf_counter()
        asyncio.run(_send_all(port, bodies, clients))
        pipe.send((time.perf_counter() - started, _cpu_seconds() - cpu))


async def _send_all(port: int, bodies: Sequence[bytes], clients: int) -> None:
    remaining = iter(bodies)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in remaining:
            writer.write(_head(len(body)) + body)
            await _read_response(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(clients)))


async def _read_response(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.split(b"\r\n")[0].decode())
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    await reader.readexactly(int(length))


def _head(length: int) -> bytes:
    head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {length}\r\n\r\n".encode()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def idle_overhead_ms(port: int, image: bytes, body: bytes, model_name: str) -> dict[str, float]:
    """Return the milliseconds for one image at a time: over HTTP on one connection, and by a call in this process."""
    direct, served = [], []
    with MedImageInsight.load(model_name) as model, socket.create_connection(("127.0.0.1", port)) as connection:
        stream = connection.makefile("rb")
        for _ in range(IDLE_CALLS):
            started = time.perf_counter()
            model.embed_images(image)
            direct.append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            connection.sendall(_head(len(body)) + body)
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            stream.read(length)
            served.append(1000 * (time.perf_counter() - started))
    return {"direct": statistics.median(direct), "served": statistics.median(served)}


@contextmanager
def server(model_name: str) -> Iterator[int]:
    """Run `mi2 serve` on a free port; yields the port when the server is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "medimageinsight", "serve", "--port", str(port), "--model", model_name]
    with subprocess.Popen([*command, "--preprocessing", "direct"], stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready").close()
                    break
                except OSError:
                    time.sleep(0.2)
            yield port
        finally:
            process.terminate()


@contextmanager
def measuring_process(function: Any, *arguments: object) -> Iterator[Any]:
    """Run a process that measures on each request; yields the pipe for requests and results."""
    pipe, remote = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=function, args=(remote, *arguments))
    process.start()
    try:
        yield pipe
    finally:
        pipe.send(False)
        process.join()


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    images = read_images(options.images, options.count)
    bodies = [
        json.dumps({"input_data": {"columns": ["image"], "data": [[base64.b64encode(image).decode()]]}}).encode()
        for image in images
    ]
    rounds = []
    with (
        server(options.model) as port,
        measuring_process(embed_on_demand, images, options.model) as local,
        measuring_process(load_server, port, bodies, options.clients) as remote,
    ):
        for number in range(options.rounds + 1):
            local.send(True)
            direct_s = local.recv()
            remote.send(True)
            wall_s, client_s = remote.recv()
            served_s = wall_s - client_s / available_cpus()
            if number:  # the first round warms up
                rounds.append({"direct_s": direct_s, "wall_s": wall_s, "client_cpu_s": client_s, "served_s": served_s})
        idle = idle_overhead_ms(port, images[0], bodies[0], options.model)
    ratio = statistics.median(times["direct_s"] / times["served_s"] for times in rounds)
    figures = {
        "one process, images a second": options.count / statistics.median(times["direct_s"] for times in rounds),
        "server, images a second": options.count / statistics.median(times["wall_s"] for times in rounds),
        "server without its clients' CPU time, images a second": options.count
        / statistics.median(times["served_s"] for times in rounds),
        "server to one process, median of the rounds' ratios": ratio,
        "one image at a time in this process, ms": idle["direct"],
        "one image at a time over HTTP, ms": idle["served"],
        "overhead of HTTP, ms": idle["served"] - idle["direct"],
    }
    print("| figure | median |\n|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.2f} |")
    print(json.dumps({"figures": figures, "rounds": rounds, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
