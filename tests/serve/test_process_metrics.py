"""Metrics of processes, of requests in flight and of the queue's age, with one process and several."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from prometheus_client.parser import text_string_to_metric_families

from medimageinsight.serve.metrics import Metrics
from tests.serve.server_process import TIMEOUT_S, make_image, run_server
from tests.serve.test_batcher import batch_started, open_batcher
from tests.serve.test_processes import wait_for, workers

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
PROCESS = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
)
AGE = "mi2_queue_oldest_seconds"


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def scrape(server: ServerProcess, name: str) -> dict[tuple[str, ...], float]:
    return samples(server.get("/metrics").body.decode(), name)


@linux
def test_metrics_of_a_single_process(server: ServerProcess) -> None:
    found = {name: scrape(server, name)[()] for name in PROCESS}
    assert found["process_cpu_seconds_total"] > 0.1
    assert found["process_resident_memory_bytes"] > 20e6
    assert 3 < found["process_open_fds"] <= len(os.listdir(f"/proc/{server.process.pid}/fd")) + 20  # noqa: PTH208
    assert time.time() - 86_400 < found["process_start_time_seconds"] <= time.time() + 2
    server.score([None, "x-ray"])
    assert scrape(server, "process_cpu_seconds_total")[()] >= found["process_cpu_seconds_total"]


@linux
def test_each_worker_has_its_series_until_it_dies(toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--workers", "2") as server:
        wait_for(lambda: len(scrape(server, PROCESS[0])) == 2)
        before = workers(server)
        for name in PROCESS:
            assert set(scrape(server, name)) == {(str(pid),) for pid in before}
        assert scrape(server, AGE) == {("toy",): 0}
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(workers(server)) == 2 and before[0] not in workers(server))
        wait_for(lambda: set(scrape(server, PROCESS[1])) == {(str(pid),) for pid in workers(server)})
        assert server.get("/metrics").body.decode().count("# TYPE process_cpu_seconds_total ") == 1


@pytest.mark.parametrize("count", ["1", "2"])
def test_requests_in_flight(toy_bundle: Path, tmp_path: Path, count: str) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--workers", count) as server:
        assert scrape(server, "mi2_requests_in_flight")[()] == 1  # the one that asks
        with server.connect() as first, server.connect() as second:
            for connection in (first, second):
                connection.sendall(
                    b"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 5\r\n\r\n{"
                )
            wait_for(lambda: scrape(server, "mi2_requests_in_flight")[()] == 3)
        wait_for(lambda: scrape(server, "mi2_requests_in_flight")[()] == 1)


def test_the_age_of_the_oldest_item_grows_until_the_network_takes_it(toy: MedImageInsight) -> None:
    metrics = Metrics()

    def age() -> float:
        return samples(metrics.exposition().decode(), AGE)[(toy.name,)]

    async def main() -> None:
        with open_batcher(toy, metrics=metrics, batch_images=1) as (batcher, engine), batcher.admit(3) as ticket:
            assert age() == 0
            engine.gate.clear()
            first = batcher.submit_image(ticket, make_image(1), toy.preprocessing)
            await batch_started(engine)
            assert age() == 0  # the network has it
            second = batcher.submit_image(ticket, make_image(2), toy.preprocessing)
            younger = age()
            third = batcher.submit_image(ticket, make_image(3), toy.preprocessing)
            assert age() > younger > 0
            engine.gate.set()
            await asyncio.wait_for(asyncio.gather(first, second, third), TIMEOUT_S)
            assert age() == 0
            bad = batcher.submit_image(ticket, b"no image", toy.preprocessing)
            await asyncio.wait_for(asyncio.gather(bad, return_exceptions=True), TIMEOUT_S)
            await asyncio.to_thread(wait_for, lambda: age() == 0)
            engine.gate.clear()
            for seed in range(9):
                batcher.submit_image(ticket, make_image(seed), toy.preprocessing)
            await batch_started(engine)
            assert age() > 0
        assert age() == 0  # the request is over

    asyncio.run(main())
