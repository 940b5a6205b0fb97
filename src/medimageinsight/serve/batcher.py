"""Batching across requests: what many clients send is decoded in parallel and goes through the network together.

Threads decode; one more runs the network on whatever is ready when it is free, up to a bound, and never waits for more.
At most a few batches are decoded ahead, so memory does not grow with the queue. A failure belongs to the rows that
caused it: a batch that fails is run again row by row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from medimageinsight.engine import available_cpus
from medimageinsight.errors import InputError, MedImageInsightError
from medimageinsight.serve.rejection import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.metrics import Metrics

Kind: TypeAlias = Literal["image", "text"]
TEXT_BATCH = 64  # texts that go through the network together; the engine splits them by length
# What else bounds a batch, so that whoever comes next waits for a moment and not for a queue.
LARGEST_BATCH = {"image": 1_000_000, "text": 2048}  # pixels; tokens
BATCHES_AHEAD = 3  # of decoded images, beside the one in the network

logger = logging.getLogger("medimageinsight.serve")


@dataclass(eq=False)
class Ticket:
    """One request in the queue: refused when its work has not begun by the deadline, dropped when nobody waits."""

    deadline: float  # of time.monotonic
    begun: bool = False
    over: bool = False


@dataclass(eq=False)
class _Job:
    """One image or text on its way to its embedding."""

    kind: Kind
    ticket: Ticket
    prepare: Callable[[], Any]  # decoding or tokenising: gives (3, H, W) float32, or token ids
    urgent: bool = False  # goes before all others
    future: Future[NDArray[np.float32]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    prepared: Any = None

    @property
    def size(self) -> int:
        """Pixels, or tokens, of what was prepared."""
        return self.prepared[0].size if self.kind == "image" else len(self.prepared)

    def begin(self) -> bool:
        """Whether the work is still wanted and in time; an expired job is answered here."""
        if not self.future.set_running_or_notify_cancel():
            return False
        if not self.ticket.begun and time.monotonic() > self.ticket.deadline:
            self.future.set_exception(overloaded("expected room in the queue in time, got none", code="queue_deadline"))
            return False
        self.ticket.begun = True
        return True


class Batcher:
    """Embeds the images and texts of concurrent requests with one model.

    Its methods are called from one event loop; `close` ends its threads.

    Args:
        model: The opened model.
        batch_images: How many images go through the network together.
        queue_rows: How many rows may be in work before a further request is refused.
        queue_deadline_s: How long a request may wait for its work to begin.
        metrics: Counts what happens.
    """

    def __init__(
        self, model: MedImageInsight, *, batch_images: int, queue_rows: int, queue_deadline_s: float, metrics: Metrics
    ) -> None:
        self.model = model
        self._batch_images = batch_images
        self._queue_rows = queue_rows
        self._queue_deadline_s = queue_deadline_s
        self._metrics = metrics
        self._rows = 0  # admitted and not answered
        self._lock = threading.Lock()
        self._work_to_prepare = threading.Condition(self._lock)
        self._work_to_run = threading.Condition(self._lock)
        self._raw: dict[Kind, deque[_Job]] = {"text": deque(), "image": deque()}
        self._ready: dict[Kind, deque[_Job]] = {"text": deque(), "image": deque()}
        self._decoding = 0
        self._last_kind: Kind = "image"
        self._closed = False
        self.last_success: dict[Kind, float] = dict.fromkeys(("image", "text"), float("-inf"))  # of time.monotonic
        self._threads = [
            threading.Thread(target=self._prepare_forever, name=f"mi2-decode-{index}", daemon=True)
            for index in range(available_cpus())
        ]
        self._threads.append(threading.Thread(target=self._run_forever, name="mi2-network", daemon=True))
        for thread in self._threads:
            thread.start()

    @contextlib.contextmanager
    def admit(self, rows: int) -> Iterator[Ticket]:
        """Room for the rows of one request. An idle server takes a request of any size.

        Raises:
            Refused: 429, the queue is full.
        """
        if self._rows and self._rows + rows > self._queue_rows:
            raise overloaded(f"expected room for {rows} rows in the queue, it is full", code="queue_full")
        self._rows += rows
        self._metrics.queue_rows(self.model.name, self._rows)
        ticket = Ticket(deadline=time.monotonic() + self._queue_deadline_s)
        try:
            yield ticket
        finally:
            ticket.over = True
            self._rows -= rows
            self._metrics.queue_rows(self.model.name, self._rows)

    def submit_image(
        self, ticket: Ticket, data: bytes, settings: Preprocessing, *, frame: int = 0, urgent: bool = False
    ) -> asyncio.Future[NDArray[np.float32]]:
        """The embedding of one encoded image, (D,) float32. Cancelling it drops the work where it has not begun.

        What is urgent goes before all that waits.

        Raises:
            InputError: The image cannot be used, or made the network fail.
            Refused: 429, the work did not begin in time.
        """
        return self._submit(
            _Job("image", ticket, lambda: self.model.prepare_image(data, frame=frame, preprocessing=settings), urgent)
        )

    def submit_text(self, ticket: Ticket, text: str, *, urgent: bool = False) -> asyncio.Future[NDArray[np.float32]]:
        """The embedding of one text, (D,) float32; the rest is as with `submit_image`."""
        return self._submit(_Job("text", ticket, lambda: self.model.tokenizer.encode([text])[0], urgent))

    def close(self) -> None:
        """End the threads; what has not begun by then is cancelled."""
        with self._lock:
            self._closed = True
            for queue in (*self._raw.values(), *self._ready.values()):
                for job in queue:
                    job.future.cancel()
                queue.clear()
            self._work_to_prepare.notify_all()
            self._work_to_run.notify_all()
        for thread in self._threads:
            thread.join()

    def _submit(self, job: _Job) -> asyncio.Future[NDArray[np.float32]]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            _enqueue(self._raw[job.kind], job)
            self._work_to_prepare.notify()
        return asyncio.wrap_future(job.future)

    def _prepare_forever(self) -> None:
        while (job := self._next_raw()) is not None:
            started = time.monotonic()
            ready = _prepare(job)
            self._metrics.stage("decode", time.monotonic() - started)
            with self._lock:
                self._decoding -= job.kind == "image"
                if ready:
                    _enqueue(self._ready[job.kind], job)
                    self._work_to_run.notify()
                self._work_to_prepare.notify()

    def _next_raw(self) -> _Job | None:
        """Texts first, they take next to nothing; images as far ahead as memory is meant to go; None at the end."""
        with self._lock:
            while not self._closed:
                ahead = self._decoding + len(self._ready["image"])
                if self._raw["text"]:
                    return self._raw["text"].popleft()
                images = self._raw["image"]
                if images and (ahead < BATCHES_AHEAD * self._batch_images or images[0].urgent):
                    self._decoding += 1
                    return images.popleft()
                self._work_to_prepare.wait()
        return None

    def _run_forever(self) -> None:
        while batch := self._next_batch():
            started = time.monotonic()
            for job in batch:
                self._metrics.stage("wait", started - job.arrived)
            self._metrics.batch(self.model.name, batch[0].kind, len(batch))
            self._run(batch)
            self._metrics.stage("network", time.monotonic() - started)

    def _next_batch(self) -> list[_Job]:
        """What is ready, images and texts in turn; empty at the end."""
        with self._lock:
            while not self._closed:
                kind = self._next_kind()
                if self._ready[kind]:
                    self._last_kind = kind
                    batch = self._take_batch(kind)
                    self._work_to_prepare.notify_all()
                    if batch := [job for job in batch if job.kind == "text" or not job.ticket.over]:
                        return batch  # a text may be waited for by several requests, an image by its own alone
                    continue
                self._work_to_run.wait()
        return []

    def _next_kind(self) -> Kind:
        """The other kind than the last one where it waits: neither holds up the other for more than a batch."""
        other: Kind = "text" if self._last_kind == "image" else "image"
        return other if self._ready[other] else self._last_kind

    def _take_batch(self, kind: Kind) -> list[_Job]:
        queue = self._ready[kind]
        batch = [queue.popleft()]
        size = batch[0].size
        most = self._batch_images if kind == "image" else TEXT_BATCH
        while queue and len(batch) < most and size + queue[0].size <= LARGEST_BATCH[kind]:
            batch.append(queue.popleft())
            size += batch[-1].size
        return batch

    def _run(self, batch: Sequence[_Job]) -> None:
        """Answers every job of the batch. One that fails in company is tried alone before it is given up."""
        try:
            embeddings = self._embed(batch)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._run([job])
                return
            logger.warning("a row made the network fail", extra={"error": type(error).__name__})
            self.last_success[batch[0].kind] = float("-inf")  # no proof of anything any more
            batch[0].future.set_exception(_as_input_error(error))
            return
        self.last_success[batch[0].kind] = time.monotonic()
        for job, embedding in zip(batch, embeddings, strict=True):
            job.future.set_result(embedding)

    def _embed(self, batch: Sequence[_Job]) -> NDArray[np.float32]:
        if batch[0].kind == "image":
            return self.model.engine.embed_pixels(np.stack([job.prepared for job in batch]))
        return self.model.engine.embed_tokens([job.prepared for job in batch])


def _enqueue(queue: deque[_Job], job: _Job) -> None:
    if job.urgent:
        queue.appendleft(job)
    else:
        queue.append(job)


def _prepare(job: _Job) -> bool:
    """Whether the job is ready for the network; what keeps it from that becomes its answer."""
    try:
        if job.begin():
            job.prepared = job.prepare()
            return True
    except InputError as error:
        job.future.set_exception(error)
    except Exception as error:
        logger.warning("a row could not be prepared", extra={"error": type(error).__name__})
        job.future.set_exception(_as_input_error(error))
    return False


def _as_input_error(error: Exception) -> InputError:
    """A row's own error: tried again, the same row would fail the same way, so no client should be told to."""
    if isinstance(error, MedImageInsightError):
        return InputError(error.message, code=error.code)
    return InputError(
        f"expected a row that can be embedded, got a failure ({type(error).__name__}): leave it out", code="row_failed"
    )
