"""A candidate's own process: ``python -m medimageinsight.bench.worker``, one JSON request and answer a line.

    {"do": "open", "opening": {...}}          {"ok": true}
    {"do": "time", "case": {...}}             {"seconds": 0.0123, "rows": 8}
    {"do": "time", "case": {...}, "turn_s": 0}          the same of one call
    {"do": "memory"}                          {"peak": 123456789, "private": 12345678}

A failure is ``{"error": {"code", "message"}}``. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from medimageinsight.errors import MedImageInsightError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

# A turn of short calls goes on for this long, and their median is its sample.
TURN_S = 0.2
MOST_CALLS = 100


class Worker:
    """What a process has opened, and the calls of the cases it was asked for."""

    def __init__(self) -> None:
        self._opened: Callable[[dict[str, Any]], Callable[[], int]] | None = None
        self._case: dict[str, Any] | None = None
        self._call: Callable[[], int] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request's answer; never raises for what a candidate does."""
        try:
            match request:
                case {"do": "open", "opening": opening}:
                    return self._open(opening)
                case {"do": "time", "case": case}:
                    return self._time(case, request.get("turn_s", TURN_S))
                case {"do": "memory"}:
                    from medimageinsight.bench.memory import peak_bytes, private_bytes

                    return {"peak": peak_bytes(), "private": private_bytes()}
            raise ModelError("expected open, time or memory, got another request", code="bench_request_unknown")
        except MedImageInsightError as error:
            return {"error": error.to_dict()}
        except Exception as error:  # what a candidate's library raises may hold paths
            if os.environ.get("MI2_DEBUG"):
                sys.excepthook(*sys.exc_info())
            message = f"expected it to run, it failed ({type(error).__name__}): MI2_DEBUG=1 shows more"
            return {"error": {"code": "contestant_failed", "message": message}}

    def _open(self, opening: dict[str, Any]) -> dict[str, Any]:
        from medimageinsight.bench.runners import OPENERS, Opening

        self._opened = OPENERS[opening["candidate"]](Opening(**opening))
        return {"ok": True}

    def _time(self, case: dict[str, Any], turn_s: float) -> dict[str, Any]:
        """Seconds of one call; what a case needs is made before, and that of the case before is dropped."""
        if self._opened is None:
            raise ModelError("expected something to be opened before it is timed", code="bench_request_unknown")
        if self._call is None or case != self._case:
            self._call = None
            self._call, self._case = self._opened(case), case
        samples: list[float] = []
        rows = 0
        begin = time.perf_counter()
        while not samples or (time.perf_counter() - begin < turn_s and len(samples) < MOST_CALLS):
            start = time.perf_counter()
            rows = self._call()
            samples.append(time.perf_counter() - start)
        return {"seconds": statistics.median(samples), "rows": rows}


def main() -> None:
    """Answer until standard input ends."""
    answers = _private_output()
    worker = Worker()
    for line in sys.stdin.buffer:
        answers.write(json.dumps(worker.answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _private_output() -> BinaryIO:
    """Standard output for answers alone: what libraries print goes to standard error."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "wb")


if __name__ == "__main__":
    main()
