"""Threads for one kind of work, which know for how long they have not made progress."""

from __future__ import annotations

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class ThreadPool:
    """Runs functions in threads, for one event loop. A call that is cancelled before it starts is dropped."""

    def __init__(self, threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._numbers = itertools.count()
        self._pending: dict[int, float] = {}  # when each call began to wait, of time.monotonic

    async def run(self, function: Callable[[], _T]) -> _T:
        """Return the function's result."""
        number = next(self._numbers)
        self._pending[number] = time.monotonic()
        future = self._executor.submit(function)
        future.add_done_callback(lambda _: self._pending.pop(number, None))
        return await asyncio.wrap_future(future)

    def oldest_s(self) -> float:
        """Return the age of the oldest call that waits or runs, in seconds; 0 without any."""
        oldest = min(list(self._pending.values()), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def shutdown(self) -> None:
        """Drop all calls that wait, and end the threads when those that run have ended."""
        self._executor.shutdown(wait=False, cancel_futures=True)
