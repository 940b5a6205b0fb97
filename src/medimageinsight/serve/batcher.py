"""Dynamic batching: images and texts of concurrent requests go through the network together.

Several threads decode. One thread runs the network on the images or texts that are ready, up to a batch size, without
waiting for more (`Batcher._next_batch`). At most a few batches are decoded ahead, so memory does not grow with the
queue. A batch that fails is run again row by row, so that only the rows that cause the failure fail.
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
from medimageinsight.preprocess import preprocess
from medimageinsight.serve.rejection import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.metrics import Metrics

Kind: TypeAlias = Literal["image", "text"]
TEXT_BATCH = 64  # texts per batch; the engine splits them by length
MAX_BATCH_SIZE = {"image": 1_000_000, "text": 2048}  # pixels; tokens; bounds how long the next request waits
BATCHES_AHEAD = 3  # batches of decoded images that wait for the network

logger = logging.getLogger("medimageinsight.serve")


@dataclass(eq=False)
class Ticket:
    """A request in the queue: refused if its work has not started by the deadline, dropped once it is over."""

    deadline: float  # of time.monotonic
    started: bool = False
    over: bool = False  # nobody waits for the result
    warnings: set[str] = field(default_factory=set)  # codes of the images' warnings


@dataclass(eq=False)
class _Job:
    """One image or text to embed."""

    kind: Kind
    ticket: Ticket
    prepare: Callable[[], Any]  # decode or tokenize: returns (3, H, W) float32, or token ids
    urgent: bool = False  # processed before all others
    future: Future[NDArray[np.float32]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    prepared: Any = None

    @property
    def size(self) -> int:
        """The number of pixels or tokens of the prepared input."""
        return self.prepared[0].size if self.kind == "image" else len(self.prepared)

    def start(self) -> bool:
        """Return whether the job is neither cancelled nor expired; an expired job fails with a 429."""
        if not self.future.set_running_or_notify_cancel():
            return False
        if not self.ticket.started and time.monotonic() > self.ticket.deadline:
            self.future.set_exception(
                overloaded("expected the request to start in time, it waited in the queue", code="queue_deadline")
            )
            return False
        self.ticket.started = True
        return True


class Batcher:
    """Embeds the images and texts of concurrent requests with one model.

    Its methods are called from one event loop; `close` ends its threads.

    Args:
        model: The opened model.
        batch_images: Images per batch.
        queue_rows: Rows in progress above which a request is refused.
        queue_deadline_s: Seconds that a request may wait until its work starts.
        metrics: Counts batches and durations.
    """

    def __init__(
        self, model: MedImageInsight, *, batch_images: int, queue_rows: int, queue_deadline_s: float, metrics: Metrics
    ) -> None:
        self.model = model
        self._batch_images = batch_images
        self._queue_rows = queue_rows
        self._queue_deadline_s = queue_deadline_s
        self._metrics = metrics
        self._rows = 0  # admitted and not yet answered
        self._lock = threading.Lock()
        self._jobs_to_prepare = threading.Condition(self._lock)
        self._jobs_to_run = threading.Condition(self._lock)
        self._submitted: dict[Kind, deque[_Job]] = {"text": deque(), "image": deque()}
        self._prepared: dict[Kind, deque[_Job]] = {"text": deque(), "image": deque()}
        self._decoding = 0  # images that are being decoded
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
        """Admit the rows of one request to the queue. An idle server admits a request of any size.

        Raises:
            Rejection: 429, the queue is full.
        """
        if self._rows and self._rows + rows > self._queue_rows:
            raise overloaded(
                f"expected at most {self._queue_rows:,} rows in progress, got {rows:,} on top of {self._rows:,}",
                code="queue_full",
            )
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
        self,
        ticket: Ticket,
        data: bytes,
        settings: Preprocessing,
        *,
        frame: int = 0,
        window: str | None = None,
        urgent: bool = False,
    ) -> asyncio.Future[NDArray[np.float32]]:
        """Embed one encoded image, (D,) float32. Cancelling the future drops work that has not started.

        An urgent image goes before all others.

        Raises:
            InputError: The image cannot be used, or made the network fail.
            Rejection: 429, the work did not start in time.
        """

        def prepare() -> NDArray[np.float32]:
            image = self.model.open_image(data, frame=frame, window=window, preprocessing=settings)
            for warning in image.warnings:
                ticket.warnings.add(warning.code)
                self._metrics.image_warning(warning.code)
            return preprocess(image, settings)

        return self._submit(_Job("image", ticket, prepare, urgent))

    def submit_text(self, ticket: Ticket, text: str, *, urgent: bool = False) -> asyncio.Future[NDArray[np.float32]]:
        """Embed one text, (D,) float32; otherwise as `submit_image`."""
        return self._submit(_Job("text", ticket, lambda: self.model.tokenizer.encode([text])[0], urgent))

    def close(self) -> None:
        """End the threads and cancel jobs that have not started."""
        with self._lock:
            self._closed = True
            for queue in (*self._submitted.values(), *self._prepared.values()):
                for job in queue:
                    job.future.cancel()
                queue.clear()
            self._jobs_to_prepare.notify_all()
            self._jobs_to_run.notify_all()
        for thread in self._threads:
            thread.join()

    def _submit(self, job: _Job) -> asyncio.Future[NDArray[np.float32]]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            _enqueue(self._submitted[job.kind], job)
            self._jobs_to_prepare.notify()
        return asyncio.wrap_future(job.future)

    def _prepare_forever(self) -> None:
        while (job := self._next_submitted()) is not None:
            started = time.monotonic()
            prepared = _prepare(job)
            self._metrics.stage("decode", time.monotonic() - started)
            with self._lock:
                self._decoding -= job.kind == "image"
                if prepared:
                    _enqueue(self._prepared[job.kind], job)
                    self._jobs_to_run.notify()
                self._jobs_to_prepare.notify()

    def _next_submitted(self) -> _Job | None:
        """Return a text, since tokenizing is fast, or an image unless enough are decoded; None when closed."""
        with self._lock:
            while not self._closed:
                if self._submitted["text"]:
                    return self._submitted["text"].popleft()
                images = self._submitted["image"]
                ahead = self._decoding + len(self._prepared["image"])
                if images and (ahead < BATCHES_AHEAD * self._batch_images or images[0].urgent):
                    self._decoding += 1
                    return images.popleft()
                self._jobs_to_prepare.wait()
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
        """Wait for prepared jobs and return a batch of images or of texts, alternately; empty when closed."""
        with self._lock:
            while not self._closed:
                kind = self._next_kind()
                if not self._prepared[kind]:
                    self._jobs_to_run.wait()
                    continue
                self._last_kind = kind
                batch = self._take_batch(kind)
                self._jobs_to_prepare.notify_all()
                # Several requests may wait for the same text, but only one for an image.
                if batch := [job for job in batch if job.kind == "text" or not job.ticket.over]:
                    return batch
        return []

    def _next_kind(self) -> Kind:
        """Alternate between images and texts, so that neither delays the other by more than one batch."""
        alternate: Kind = "text" if self._last_kind == "image" else "image"
        return alternate if self._prepared[alternate] else self._last_kind

    def _take_batch(self, kind: Kind) -> list[_Job]:
        queue = self._prepared[kind]
        batch = [queue.popleft()]
        size = batch[0].size
        max_jobs = self._batch_images if kind == "image" else TEXT_BATCH
        while queue and len(batch) < max_jobs and size + queue[0].size <= MAX_BATCH_SIZE[kind]:
            batch.append(queue.popleft())
            size += batch[-1].size
        return batch

    def _run(self, batch: Sequence[_Job]) -> None:
        """Embed the batch and resolve its futures. If the batch fails, run each job on its own."""
        try:
            embeddings = self._embed(batch)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._run([job])
                return
            logger.warning("a row made the network fail", extra={"error": type(error).__name__})
            self.last_success[batch[0].kind] = float("-inf")  # readiness must be checked again
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
    """Return whether the job was prepared; on an error, its future fails."""
    try:
        if job.start():
            job.prepared = job.prepare()
            return True
    except InputError as error:
        job.future.set_exception(error)
    except Exception as error:
        logger.warning("a row could not be prepared", extra={"error": type(error).__name__})
        job.future.set_exception(_as_input_error(error))
    return False


def _as_input_error(error: Exception) -> InputError:
    """Return an error of the row (4xx), since sending the same row again would fail in the same way."""
    if isinstance(error, MedImageInsightError):
        return InputError(error.message, code=error.code)
    return InputError(
        f"expected a row that can be embedded, got a failure ({type(error).__name__}): leave it out", code="row_failed"
    )
