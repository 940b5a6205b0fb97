"""`mi2 serve` compared with LitServe on the same graph, decoding and machine, in alternating rounds.

    pip install --no-deps --target /tmp/litserve litserve==0.2.19
    PYTHONPATH=/tmp/litserve python benchmarks/serve_litserve.py --images FOLDER --out rounds.json

Both servers have one worker and form batches of at most 8 images. Each client waits for the answer before its next
request, which is one JPEG file in base64. A round measures each server with each number of clients for a fixed time;
the order of the servers alternates. The CPU time is that of all processes of a server, the clients' not included.

Finished measurements are in the file of `--out`, and a repeated call makes only the missing ones. `--old FOLDER` also
measures the server of another working tree of this repository. Needs Linux, for /proc.

Prints a Markdown table of medians and of the ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES = 600
WARM_S = 1.0  # before each measurement: all clients are connected and batches are full
START_S = 120
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server and the requests that it takes."""

    name: str
    pid: int
    port: int
    requests: Sequence[bytes]


@contextmanager
def started(
    name: str, command: Sequence[str], ready: str, path: str, bodies: list[bytes], **env: str
) -> Iterator[Server]:
    """Run a server on a free port, which replaces PORT in the command; yields it when it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(port) if word == "PORT" else word for word in command]
    requests = [
        f"POST {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | env,
    )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(f"http://127.0.0.1:{port}{ready}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start: run {' '.join(words)}")
            time.sleep(0.3)
        yield Server(name=name, pid=process.pid, port=port, requests=requests)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def cpu_seconds(session: int) -> float:
    """Return the CPU time of all processes of a session."""
    total = 0
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        except OSError:  # it ended meanwhile
            continue
    return total * TICK_S


async def measure(server: Server, clients: int, seconds: float) -> dict[str, float]:
    """Load a server with clients, and return its figures for the time after `WARM_S`."""
    times: list[tuple[float, float]] = []  # of a request, and of its answer
    failed = 0
    choice = random.Random(clients)
    end = time.perf_counter() + WARM_S + seconds

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while (sent := time.perf_counter()) < end:
            writer.write(choice.choice(server.requests))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            if head.startswith(b"http/1.1 200"):
                times.append((sent, time.perf_counter()))
            else:
                failed += 1
        writer.close()

    async def cpu_of_window() -> tuple[float, float]:
        await asyncio.sleep(WARM_S)
        before, started_at = cpu_seconds(server.pid), time.perf_counter()
        await asyncio.sleep(end - time.perf_counter())
        return cpu_seconds(server.pid) - before, started_at

    (cpu, begin), *_ = await asyncio.gather(cpu_of_window(), *(client() for _ in range(clients)))
    waits = sorted(1000 * (answered - sent) for sent, answered in times if begin <= answered <= end)
    return {
        "images_per_s": len(waits) / (end - begin),
        "p50_ms": waits[len(waits) // 2],
        "p95_ms": waits[int(0.95 * len(waits))],
        "cpu_ms_per_image": 1000 * cpu / len(waits),
        "busy_cores": cpu / (end - begin),
        "failed": failed,
    }


def _bodies(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Return the bodies for `mi2 serve` and those for LitServe."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    random.Random(1).shuffle(files)
    texts = [base64.b64encode(path.read_bytes()).decode() for path in files[:FILES]]
    if not texts:
        raise SystemExit(f"no JPEG files below {folder}")
    rows = [json.dumps({"input_data": {"columns": ["image"], "data": [[text]]}}).encode() for text in texts]
    return rows, [json.dumps({"image": text}).encode() for text in texts]


def _servers(options: argparse.Namespace, stack: ExitStack) -> list[Server]:
    rows, images = _bodies(options.images)
    serve = (sys.executable, "-m", "medimageinsight", "serve", "--port", "PORT", "--model", options.model)
    lit = (sys.executable, str(Path(__file__).with_name("litserve_app.py")), "PORT", options.model)
    here = str(Path(__file__).parents[1] / "src")
    enter = stack.enter_context
    path = os.pathsep.join((here, *filter(None, [os.environ.get("PYTHONPATH")])))
    servers = [
        enter(started("mi2 serve", serve, "/health/ready", "/score", rows, PYTHONPATH=path)),
        enter(started("LitServe", lit, "/health", "/predict", images, PYTHONPATH=path)),
    ]
    if options.old:
        path = str(options.old / "src")
        servers.append(enter(started("old mi2 serve", serve, "/health/ready", "/score", rows, PYTHONPATH=path)))
    return servers


def _measure_missing(options: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    with ExitStack() as stack:
        servers = _servers(options, stack)
        for server in servers:
            asyncio.run(measure(server, max(options.clients), 2))  # not recorded: graphs are loaded, caches are warm
        for number in range(options.rounds):
            for clients in options.clients:
                for server in servers[:: 1 if number % 2 else -1]:
                    key = {"round": number, "clients": clients, "server": server.name}
                    if any(key.items() <= result.items() for result in results):
                        continue
                    load = os.getloadavg()[0]
                    results.append(key | asyncio.run(measure(server, clients, options.seconds)) | {"load_before": load})
                    sys.stderr.write(json.dumps(results[-1]) + "\n")
                    if options.out:
                        options.out.write_text(json.dumps(results, indent=1) + "\n")


def report(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| clients | server | images/s | p50, ms | p95, ms | CPU ms an image | cores busy | failed | to LitServe |"
    yield "|---|---|---|---|---|---|---|---|---|"
    figures = ("images_per_s", "p50_ms", "p95_ms", "cpu_ms_per_image", "busy_cores")
    for clients, name in sorted({(result["clients"], result["server"]) for result in results}):
        rounds = {
            result["round"]: result for result in results if (result["clients"], result["server"]) == (clients, name)
        }
        others = {
            result["round"]: result["images_per_s"]
            for result in results
            if (result["clients"], result["server"]) == (clients, "LitServe")
        }
        ratios = [rounds[number]["images_per_s"] / others[number] for number in rounds if number in others]
        cells = [f"{statistics.median(result[figure] for result in rounds.values()):.1f}" for figure in figures]
        failed = sum(result["failed"] for result in rounds.values())
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        yield f"| {clients} | {name} | {' | '.join(cells)} | {failed} | {ratio} |"


def main() -> None:
    """Measure what is missing and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--old", type=Path, help="another working tree of this repository")
    parser.add_argument("--out", type=Path, help="JSON file of the measurements")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out and options.out.exists() else []
    _measure_missing(options, results)
    print("\n".join(report(results)))


if __name__ == "__main__":
    main()
