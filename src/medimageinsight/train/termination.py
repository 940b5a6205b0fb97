"""SIGTERM during training, as schedulers send it some seconds before they kill a job: a request to save and end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType

EXIT_STATUS = 128 + signal.SIGTERM  # as shells report a process that the signal ended


class TerminationRequest:
    """Record SIGTERM instead of ending the process, while the block runs; the training loop asks after each step.

    Only the main thread can handle signals; in another thread nothing is recorded.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> Self:
        self._handles = threading.current_thread() is threading.main_thread()
        if self._handles:
            self._previous = signal.signal(signal.SIGTERM, self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._handles:
            signal.signal(signal.SIGTERM, self._previous)
        if self.received and kind is None:  # after the last step, whose state is saved
            raise SystemExit(EXIT_STATUS)

    def _record(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature of a handler)
        self.received = True
