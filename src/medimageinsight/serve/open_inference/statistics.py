"""Statistics of one model in Triton's form: how many requests, inputs and batches, and how long they took."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medimageinsight import schemas
from medimageinsight.errors import InputError
from medimageinsight.serve.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.serve.scoring_response import Features

VERSION = "1"  # of every model


@dataclass(eq=False)
class Statistics:
    """Counts and durations of one model in one process. Thread-safe."""

    _counts: Counter[str] = field(default_factory=Counter)
    _ns: Counter[str] = field(default_factory=Counter)
    _batches: dict[int, list[int]] = field(default_factory=dict)  # by size: their number and nanoseconds
    _inferences: int = 0
    _last_ms: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, seconds: float) -> None:
        """Count what was done once."""
        with self._lock:
            self._counts[name] += 1
            self._ns[name] += round(seconds * 1e9)

    def add_batch(self, size: int, seconds: float) -> None:
        """Count a batch that went through the network."""
        self.add("compute_infer", seconds)
        with self._lock:
            batch = self._batches.setdefault(size, [0, 0])
            batch[0] += 1
            batch[1] += round(seconds * 1e9)

    @contextmanager
    def request(self) -> Iterator[list[Features | InputError]]:
        """Count a request, whose results, errors among them, the block adds to the list."""
        results: list[Features | InputError] = []
        started = time.monotonic()
        succeeded = False
        try:
            yield results
            succeeded = not any(isinstance(result, InputError) for result in results)
        finally:
            self.add("success" if succeeded else "fail", time.monotonic() - started)
            done = sum(not isinstance(result, InputError) for result in results)
            with self._lock:
                self._inferences += done
                self._last_ms = time.time_ns() // 1_000_000 if done else self._last_ms

    def read(self, name: str) -> schemas.ModelStatistics:
        """Return the statistics so far, for a model of this name."""
        with self._lock:
            durations = {key: schemas.Duration(count=self._counts[key], ns=self._ns[key]) for key in _STAGES}
            # The time from an input's arrival to the network, without its preparation.
            durations["queue"].ns = max(0, durations["queue"].ns - durations["compute_input"].ns)
            return schemas.ModelStatistics(
                name=name,
                version=VERSION,
                last_inference=self._last_ms,
                inference_count=self._inferences,
                execution_count=self._counts["compute_infer"],
                inference_stats=schemas.InferenceStatistics(**durations),
                batch_stats=[
                    schemas.BatchStatistics(batch_size=size, compute_infer=schemas.Duration(count=count, ns=ns))
                    for size, (count, ns) in sorted(self._batches.items())
                ],
            )


_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


class ModelMetrics(Metrics):
    """The server's metrics, and the statistics of the model whose batcher counts its stages.

    Args:
        shared: The metrics of the server, which this object adds to.
        statistics: Those of the model.
    """

    def __init__(self, shared: Metrics, statistics: Statistics) -> None:
        self.__dict__.update(shared.__dict__)
        self._statistics = statistics
        self._size = 0  # of the batch that is in the network

    def batch(self, model: str, kind: str, size: int) -> None:
        """Count a batch and its size."""
        super().batch(model, kind, size)
        self._size = size

    def stage(self, stage: str, seconds: float) -> None:
        """Record the duration of a stage."""
        super().stage(stage, seconds)
        if stage == "network":
            self._statistics.add_batch(self._size, seconds)
        elif stage in ("wait", "decode"):
            self._statistics.add("queue" if stage == "wait" else "compute_input", seconds)
