"""Prometheus metrics of the server. Label values come from fixed lists."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from medimageinsight.serve.process_metrics import WorkerProcesses
from medimageinsight.serve.trace_context import CURRENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client collects the values of several processes
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_QUEUE_OLDEST = "mi2_queue_oldest_seconds"


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("mi2_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._key_requests = Counter(
            "mi2_key_requests", "Requests answered, by the name of the key.", ["key", "status"], registry=registry
        )
        self._in_flight = Gauge(
            "mi2_requests_in_flight", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self._request_seconds = Histogram(
            "mi2_request_seconds", "From the head of a request to its answer.", ["route"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._rows = Counter("mi2_rows", "Rows answered.", ["outcome"], registry=registry)
        self._errors = Counter("mi2_errors", "Errors of requests and rows.", ["code"], registry=registry)
        self._image_warnings = Counter(
            "mi2_image_warnings", "Defects of images that did not prevent their use.", ["code"], registry=registry
        )
        self._queue_rows = Gauge(
            "mi2_queue_rows", "Rows in work.", ["model"], registry=registry, multiprocess_mode="livesum"
        )
        self._queue_oldest = Gauge(  # holds the arrival, so that the age grows although nothing happens
            _QUEUE_OLDEST, "Age of the oldest image or text that the network has not taken; 0 without any.", ["model"],
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip
        self._batch_size = Histogram(
            "mi2_batch_size", "Rows that went through the network together.", ["model", "kind"], buckets=_SIZES,
            registry=registry,
        )  # fmt: skip
        self._stage_seconds = Histogram(
            "mi2_stage_seconds",
            "Time in one stage: parse, decode, wait (from arrival to the network), network, answer.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._cache_hits = Counter("mi2_text_cache_hits", "Texts that needed no network.", registry=registry)

    def request(self, route: str, status: int, seconds: float, *, caller: str | None = None) -> None:
        """Count a response and its duration, and the caller where it has a key."""
        self._requests.labels(route, str(status)).inc()
        if caller is not None:
            self._key_requests.labels(caller, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as being answered until the block ends."""
        self._in_flight.inc()
        try:
            yield
        finally:
            self._in_flight.dec()

    def row(self, code: str | None) -> None:
        """Count a row, and its error unless the code is None."""
        self._rows.labels("ok" if code is None else "error").inc()
        if code is not None:
            self.error(code)

    def error(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def image_warning(self, code: str) -> None:
        """Count a warning of an image."""
        self._image_warnings.labels(code).inc()

    def queue_rows(self, model: str, rows: int) -> None:
        """Set the number of rows in progress."""
        self._queue_rows.labels(model).set(rows)

    def queue_oldest(self, model: str, arrived: float) -> None:
        """Set the arrival of the oldest item in the queue, of ``time.monotonic``; infinity without any."""
        self._queue_oldest.labels(model).set(arrived)

    def batch(self, model: str, kind: str, size: int) -> None:
        """Count a batch and its size."""
        self._batch_size.labels(model, kind).observe(size)

    def stage(self, stage: str, seconds: float) -> None:
        """Record the duration of a stage."""
        self._stage_seconds.labels(stage).observe(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record the duration of the block as a stage, also in the trace of the request."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        self.stage(stage, ended - started)
        if (trace := CURRENT.get()) is not None:
            trace.stage(stage, started, ended)

    def cache_hit(self) -> None:
        """Count a text whose embedding was cached."""
        self._cache_hits.inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format, summed over the worker processes."""
        registry = CollectorRegistry()
        if folder := os.environ.get(MULTIPROCESS_FOLDER):
            registry.register(_WithAges(MultiProcessCollector(None, folder)))  # type: ignore[no-untyped-call]
            registry.register(WorkerProcesses(folder))
        else:
            registry.register(_WithAges(self._registry))
            ProcessCollector(registry=registry)
        return generate_latest(registry)


class _WithAges(Collector):
    """Metrics of a collector, with the arrival of the oldest queued item as its age."""

    def __init__(self, collector: Collector | MultiProcessCollector) -> None:
        self._collector = collector

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        now = time.monotonic()  # the same clock in all processes
        for metric in self._collector.collect():
            if metric.name == _QUEUE_OLDEST:
                metric.samples = [
                    sample._replace(value=max(0.0, now - sample.value) if sample.value else 0.0)
                    for sample in metric.samples
                ]
            yield metric
