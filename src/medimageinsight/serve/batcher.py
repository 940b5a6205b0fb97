"""Dynamic batching: images and texts of concurrent requests go through the network together.

Several threads decode. Others run the network on the images or texts that are ready, up to a batch size, without
waiting for more (`Batcher._next_batch`). Requests take turns, in decoding as in batches (`fair_queue`). At most a few
batches are decoded ahead, so memory does not grow with the queue. A batch that fails is run again row by row, so that
only the rows that cause the failure fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from medimageinsight.engine import available_cpus
from medimageinsight.preprocess import preprocess
from medimageinsight.serve.arrivals import Arrivals
from medimageinsight.serve.fair_queue import OWNER, FairQueue
from medimageinsight.serve.job import Job, Kind, Ticket, as_input_error
from medimageinsight.serve.rejection import overloaded
from medimageinsight.serve.trace_context import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.engine import Engine
    from medimageinsight.images import Source
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.serve.metrics import Metrics
    from medimageinsight.serve.parallel import ParallelEngine

_T = TypeVar("_T")

TEXT_BATCH = 64  # texts per batch; the engine splits them by length
MAX_BATCH_SIZE: dict[Kind, int] = {"image": 1_000_000, "text": 2048}  # pixels; tokens; bounds a batch's time
# Batches of decoded images that wait for the network, besides one for each that it runs; and one more for requests of
# which no image is decoded yet: so a single image need not wait until those of a large request have been taken.
BATCHES_AHEAD = 2
BATCHES_RESERVED = 1

logger = logging.getLogger("medimageinsight.serve")


class Batcher:
    """Embeds the images and texts of concurrent requests with one model.

    Its methods are called from one event loop; `close` ends its threads.

    Args:
        model: The opened model.
        batch_images: Images per batch.
        queue_rows: Rows in progress above which a request is refused.
        queue_deadline_s: Seconds that a request may wait until its work starts.
        metrics: Counts batches and durations.
        parallel: An engine for the batches of a busy server; None to run one batch at a time.
    """

    def __init__(
        self,
        model: MedImageInsight,
        *,
        batch_images: int,
        queue_rows: int,
        queue_deadline_s: float,
        metrics: Metrics,
        parallel: ParallelEngine | None = None,
    ) -> None:
        self.model = model
        self._parallel = parallel
        batches = 1 if parallel is None else parallel.batches
        self._batch_images = batch_images
        self._max_ahead = (batches + BATCHES_AHEAD) * batch_images  # images
        self._queue_rows = queue_rows
        self._queue_deadline_s = queue_deadline_s
        self._metrics = metrics
        self._rows = 0  # admitted and not yet answered
        self._lock = threading.Lock()
        self._jobs_to_prepare = threading.Condition(self._lock)
        self._jobs_to_run = threading.Condition(self._lock)
        self._submitted: dict[Kind, FairQueue[Job]] = {"text": FairQueue(), "image": FairQueue(), "call": FairQueue()}
        self._prepared: dict[Kind, FairQueue[Job]] = {"text": FairQueue(), "image": FairQueue()}
        self._arrivals = Arrivals(lambda arrived: metrics.queue_oldest(model.name, arrived))
        self._preparing: dict[Kind, int] = {"text": 0, "image": 0, "call": 0}
        self._last_decoded: Kind = "image"
        self._last_kind: Kind = "image"
        self._running = 0  # batches
        self._closed = False
        self.last_success: dict[Kind, float] = dict.fromkeys(("image", "text"), float("-inf"))  # of time.monotonic
        self._decoders = max(2, available_cpus())  # calls never take all of them
        self._busy_since: dict[int, float] = {}  # of each decoder that works, of time.monotonic
        self._threads = [
            threading.Thread(target=self._prepare_forever, args=(index,), name=f"mi2-decode-{index}", daemon=True)
            for index in range(self._decoders)
        ]
        self._threads += [
            threading.Thread(target=self._run_forever, name=f"mi2-network-{index}", daemon=True)
            for index in range(batches)
        ]
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
        deadline = time.monotonic() + self._queue_deadline_s
        ticket = Ticket(deadline=deadline, owner=OWNER.get(), trace=CURRENT.get())
        try:
            yield ticket
        finally:
            self._end(ticket)
            self._rows -= rows
            self._metrics.queue_rows(self.model.name, self._rows)

    def submit_image(
        self,
        ticket: Ticket,
        data: Source,
        settings: Preprocessing,
        *,
        frame: int = 0,
        window: str | None = None,
        urgent: bool = False,
    ) -> asyncio.Future[NDArray[np.float32]]:
        """Embed one image, (D,) float32. Cancelling the future drops work that has not started.

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

        return self._submit(Job("image", ticket, prepare, urgent))

    def submit_text(self, ticket: Ticket, text: str, *, urgent: bool = False) -> asyncio.Future[NDArray[np.float32]]:
        """Embed one text, (D,) float32; otherwise as `submit_image`."""
        return self._submit(Job("text", ticket, lambda: self.model.tokenizer.encode([text])[0], urgent))

    def submit_call(self, ticket: Ticket, function: Callable[[], _T]) -> asyncio.Future[_T]:
        """Call a function that decodes an image; it takes turns with the images to embed. Errors as `submit_image`."""
        return self._submit(Job("call", ticket, function))

    def stalled_s(self) -> float:
        """Return for how many seconds no decoder has become free; 0 if any is free."""
        with self._lock:
            if len(self._busy_since) < self._decoders:
                return 0.0
            return time.monotonic() - max(self._busy_since.values())

    def close(self) -> None:
        """End the threads and cancel jobs that have not started."""
        with self._lock:
            self._closed = True
            for queue in (*self._submitted.values(), *self._prepared.values()):
                for job in queue.clear():
                    self._arrivals.remove(job)
                    job.future.cancel()
            self._jobs_to_prepare.notify_all()
            self._jobs_to_run.notify_all()
        for thread in self._threads:
            thread.join()

    def _submit(self, job: Job) -> asyncio.Future[Any]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            _push(self._submitted[job.kind], job)
            self._arrivals.add(job)
            self._jobs_to_prepare.notify()
        return asyncio.wrap_future(job.future)

    def _end(self, ticket: Ticket) -> None:
        """Drop what a request has in the queue, except for texts, which other requests may wait for."""
        with self._lock:
            ticket.over = True
            for kind in ("image", "call"):
                for job in self._submitted[kind].discard(ticket.owner, ticket):
                    self._arrivals.remove(job)
                    job.future.cancel()
            if prepared := self._prepared["image"].discard(ticket.owner, ticket):
                self._arrivals.remove(*prepared)
                self._jobs_to_prepare.notify_all()

    def _prepare_forever(self, index: int) -> None:
        while (job := self._next_submitted(index)) is not None:
            started = time.monotonic()
            prepared = job.run()
            self._metrics.stage("decode", time.monotonic() - started)
            with self._lock:
                del self._busy_since[index]
                self._preparing[job.kind] -= 1
                if prepared and (job.kind == "text" or not job.ticket.over):
                    _push(self._prepared[job.kind], job)
                    self._jobs_to_run.notify()
                else:
                    self._arrivals.remove(job)
                    job.ticket.images_ahead -= job.kind == "image"
                self._jobs_to_prepare.notify()

    def _next_submitted(self, index: int) -> Job | None:
        """Wait for a job that may be prepared now; None when closed."""
        with self._lock:
            while not self._closed:
                # Tokenizing is fast; images to embed and calls alternate.
                kinds: tuple[Kind, ...] = ("text", "call", "image")
                if self._last_decoded == "call":
                    kinds = ("text", "image", "call")
                if job := next(filter(None, map(self._take_submitted, kinds)), None):
                    self._busy_since[index] = time.monotonic()
                    return job
                self._jobs_to_prepare.wait()
        return None

    def _take_submitted(self, kind: Kind) -> Job | None:
        if kind == "call" and self._preparing["call"] >= self._decoders - 1:
            return None
        job = self._submitted[kind].pop(self._may_decode) if kind == "image" else self._submitted[kind].pop()
        if job is not None:
            self._preparing[kind] += 1
            if kind != "text":
                self._last_decoded = kind
            if kind == "image":
                job.ticket.images_ahead += 1
        return job

    def _may_decode(self, job: Job) -> bool:
        """Return whether an image may be decoded ahead of the network."""
        ahead = self._preparing["image"] + len(self._prepared["image"])
        reserved = 0 if job.ticket.images_ahead else BATCHES_RESERVED * self._batch_images
        return job.urgent or ahead < self._max_ahead + reserved

    def _run_forever(self) -> None:
        while batch := self._next_batch():
            jobs, engine = batch
            started = time.monotonic()
            for job in jobs:
                self._metrics.stage("wait", started - job.arrived)
            self._metrics.batch(self.model.name, jobs[0].kind, len(jobs))
            self._run(jobs, engine)
            self._metrics.stage("network", time.monotonic() - started)
            with self._lock:
                self._running -= 1

    def _next_batch(self) -> tuple[list[Job], Engine] | None:
        """Wait for prepared jobs; return a batch of images or of texts, alternately, and the engine; None if closed."""
        with self._lock:
            while not self._closed:
                kind = self._next_kind()
                if not self._prepared[kind]:
                    self._jobs_to_run.wait()
                    continue
                self._last_kind = kind
                jobs = self._take_batch(kind)
                self._jobs_to_prepare.notify_all()
                self._running += 1
                return jobs, self._engine()
        return None

    def _engine(self) -> Engine:
        """Return the engine of the next batch: all threads for one call while there is no other work."""
        waiting = self._preparing["image"] + sum(map(len, (*self._prepared.values(), *self._submitted.values())))
        if self._parallel is None or (self._running == 1 and not waiting):
            return self.model.engine
        return self._parallel.engine

    def _next_kind(self) -> Kind:
        """Alternate between images and texts, so that neither delays the other by more than one batch."""
        alternate: Kind = "text" if self._last_kind == "image" else "image"
        return alternate if self._prepared[alternate] else self._last_kind

    def _take_batch(self, kind: Kind) -> list[Job]:
        batch: list[Job] = []

        def fits(job: Job) -> bool:
            return not batch or sum(queued.size for queued in (*batch, job)) <= MAX_BATCH_SIZE[kind]

        max_jobs = self._batch_images if kind == "image" else TEXT_BATCH
        while len(batch) < max_jobs and (job := self._prepared[kind].pop(fits)) is not None:
            batch.append(job)
            job.ticket.images_ahead -= kind == "image"
        self._arrivals.remove(*batch)
        return batch

    def _run(self, batch: Sequence[Job], engine: Engine) -> None:
        """Embed the batch and resolve its futures. If the batch fails, run each job on its own."""
        started = time.monotonic()
        try:
            embeddings = _embed(batch, engine)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._run([job], engine)
                return
            logger.warning("a row made the network fail", extra=batch[0].ticket.log_fields(error))
            self.last_success[batch[0].kind] = float("-inf")  # readiness must be checked again
            _trace(batch, started)
            batch[0].future.set_exception(as_input_error(error))
            return
        _trace(batch, started)  # before the requests may be over
        self.last_success[batch[0].kind] = time.monotonic()
        for job, embedding in zip(batch, embeddings, strict=True):
            job.future.set_result(embedding)


def _embed(batch: Sequence[Job], engine: Engine) -> NDArray[np.float32]:
    if batch[0].kind == "image":
        return engine.embed_pixels(np.stack([job.prepared for job in batch]))
    return engine.embed_tokens([job.prepared for job in batch])


def _trace(batch: Sequence[Job], started: float) -> None:
    ended = time.monotonic()
    for job in batch:
        if (trace := job.ticket.trace) is not None:
            trace.stage("wait_network", job.prepared_at, started)
            trace.stage("network", started, ended)


def _push(queue: FairQueue[Job], job: Job) -> None:
    queue.push(job, job.ticket.owner, job.ticket, urgent=job.urgent)
