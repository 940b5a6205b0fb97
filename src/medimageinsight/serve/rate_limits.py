"""Limits per minute of named callers, for all processes of a server together.

The generic cell rate algorithm: a caller has a time until which its work fills its limit; each unit moves it by
``60 / limit`` seconds. Work is accepted while that time is less than a minute ahead, whatever its size, so that no
request is refused for ever: a large one delays the next ones instead.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from medimageinsight.serve.rejection import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Unit: TypeAlias = Literal["requests", "images"]

_MINUTE_S = 60.0
_ROUNDING_S = 1e-6  # sums of a thousandth of a minute are no whole minute
_TIME = struct.Struct("<d")


class RateLimits:
    """Counts units of work by caller. Thread-safe; with a folder, the processes that share it count together.

    Args:
        folder: A folder that the processes share and that is deleted after them; None for a single process.
        clock: Monotonic seconds, the same in all processes.
    """

    def __init__(self, folder: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder if fcntl is not None else None
        self._clock = clock
        self._lock = threading.Lock()
        self._full_until: dict[str, float] = {}

    def count(self, name: str, unit: Unit, count: int, limit: int | None) -> None:
        """Count work of a caller.

        Raises:
            Rejection: 429 with the seconds to wait, the caller has reached the limit; the work is not counted.
        """
        if limit is None:
            return
        interval = _MINUTE_S / limit
        key = f"{unit} {name}"
        with self._lock:
            wait_s = self._update(key, interval, count)
        if wait_s > 0:
            raise overloaded(
                f"expected at most {limit:,} {unit} per minute of this key, got more",
                code="rate_limited",
                retry_after_s=max(1, math.ceil(wait_s)),
            )

    def _update(self, key: str, interval: float, count: int) -> float:
        """Count work if it is accepted; return the seconds to wait otherwise."""
        if self._folder is None:
            self._full_until[key], wait_s = self._advance(self._full_until.get(key, 0.0), interval, count)
            return wait_s
        path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.limit"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            stored = os.pread(file, _TIME.size, 0)
            full_until = _TIME.unpack(stored)[0] if len(stored) == _TIME.size else 0.0
            full_until, wait_s = self._advance(full_until, interval, count)
            os.pwrite(file, _TIME.pack(full_until), 0)
            return wait_s
        finally:
            os.close(file)  # which ends the lock

    def _advance(self, full_until: float, interval: float, count: int) -> tuple[float, float]:
        """Return the new time until which the limit is filled, and the seconds to wait."""
        now = self._clock()
        full_until = max(full_until, now)
        wait_s = full_until + interval - _ROUNDING_S - now - _MINUTE_S
        return (full_until, wait_s) if wait_s > 0 else (full_until + count * interval, 0.0)
