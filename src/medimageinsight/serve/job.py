"""The work of a request in the queue: its ticket, and one job for each image, text or other call."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import InputError, MedImageInsightError
from medimageinsight.serve.rejection import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.serve.trace_context import RequestTrace

Kind: TypeAlias = Literal["image", "text", "call"]

logger = logging.getLogger("medimageinsight.serve")


@dataclass(eq=False)
class Ticket:
    """A request in the queue: refused if its work has not started by the deadline, dropped once it is over."""

    deadline: float  # of time.monotonic
    owner: str = ""  # see `fair_queue.OWNER`
    started: bool = False
    over: bool = False  # nobody waits for the result
    images_ahead: int = 0  # that are decoded or being decoded, before the network takes them
    warnings: set[str] = field(default_factory=set)  # codes of the images' warnings
    trace: RequestTrace | None = None

    def log_fields(self, error: Exception) -> dict[str, str]:
        """Return what a line of the log has of an error: the request's trace, and the type alone."""
        trace = {} if self.trace is None else {"trace_id": self.trace.trace_id}
        return {"error": type(error).__name__, **trace}


@dataclass(eq=False)
class Job:
    """One image or text to embed, or a call whose result is what ``prepare`` returns."""

    kind: Kind
    ticket: Ticket
    prepare: Callable[[], Any]  # decode or tokenize: returns (3, H, W) float32, or token ids
    urgent: bool = False  # processed before all others
    future: Future[Any] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    prepared: Any = None
    prepared_at: float = 0.0

    @property
    def size(self) -> int:
        """The number of pixels or tokens of the prepared input."""
        return self.prepared[0].size if self.kind == "image" else len(self.prepared)

    def run(self) -> bool:
        """Prepare the input, and return whether it can be embedded; otherwise the future has a result or an error."""
        try:
            if not self._start():
                return False
            started = time.monotonic()
            try:
                self.prepared = self.prepare()
            finally:
                self._trace(started)
        except InputError as error:
            self.future.set_exception(error)
            return False
        except Exception as error:
            logger.warning("a row could not be prepared", extra=self.ticket.log_fields(error))
            self.future.set_exception(as_input_error(error))
            return False
        if self.kind == "call":
            self.future.set_result(self.prepared)
        return self.kind != "call"

    def _trace(self, started: float) -> None:
        """Record the decoding and the wait for it, before the request may be over."""
        self.prepared_at = time.monotonic()
        if (trace := self.ticket.trace) is not None:
            trace.stage("wait_decode", self.arrived, started)
            trace.stage("decode", started, self.prepared_at)

    def _start(self) -> bool:
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


def as_input_error(error: Exception) -> InputError:
    """Return an error of the row (4xx), since sending the same row again would fail in the same way."""
    if isinstance(error, MedImageInsightError):
        return InputError(error.message, code=error.code)
    return InputError(
        f"expected a row that can be embedded, got a failure ({type(error).__name__}): leave it out", code="row_failed"
    )
