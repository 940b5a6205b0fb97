"""Metrics of the server's processes: CPU time, memory, open files, start; read from /proc when they are asked for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

# A worker's file of gauges, which the parent removes when the worker has died; see `Metrics.in_flight`.
_LIVE_WORKER = re.compile(r"gauge_livesum_(\d+)\.db")


class WorkerProcesses(Collector):
    """The processes of a server with several workers, a series for each with its label ``pid``.

    The worker that answers reads the numbers of all, so they are those of now, and a worker that has died has none.

    Args:
        folder: Where workers leave the values of their metrics.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, with the values of all workers."""
        metrics: dict[str, Metric] = {}
        for pid in self._workers():
            for found in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                metric = metrics.setdefault(found.name, found)
                samples = [sample._replace(labels={"pid": str(pid)}) for sample in found.samples]
                metric.samples = samples if metric is found else [*metric.samples, *samples]
        yield from metrics.values()

    def _workers(self) -> list[int]:
        found = (_LIVE_WORKER.fullmatch(file.name) for file in self._folder.iterdir())
        return sorted(pid for match in found if match and _is_sibling(pid := int(match[1])))


def _is_sibling(pid: int) -> bool:
    """Return whether a process is this one, or has its parent: another may have received the id of a dead worker."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return pid == os.getpid() or int(fields[1]) == os.getppid()
