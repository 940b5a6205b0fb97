"""The process of a candidate: ``python -m medimageinsight.bench.worker``, one JSON request and answer a line.

    {"do": "open", "config": {...}}                     {"ok": true}
    {"do": "time", "case": {...}}                       {"seconds": 0.0123, "rows": 8}
    {"do": "time", "case": {...}, "sample_s": 0}        the same of exactly one call
    {"do": "memory"}                                    {"peak": 123456789, "private": 12345678}

A failure is ``{"error": {"code", "message"}}``. The process ends with its standard input.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import MedImageInsightError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

# Short calls are repeated for this long, and their median is one sample.
SAMPLE_S = 0.2
MAX_CALLS = 100


class Worker:
    """The opened candidate, and the function that runs the current case."""

    def __init__(self) -> None:
        self._prepare: Callable[[dict[str, Any]], Callable[[], int]] | None = None
        self._case: dict[str, Any] | None = None
        self._call: Callable[[], int] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request; errors of the candidate are returned, not raised."""
        try:
            match request:
                case {"do": "open", "config": config}:
                    return self._open(config)
                case {"do": "time", "case": case}:
                    return self._time(case, request.get("sample_s", SAMPLE_S))
                case {"do": "memory"}:
                    from medimageinsight.bench.memory import peak_bytes, private_bytes

                    return {"peak": peak_bytes(), "private": private_bytes()}
            raise ModelError(f"expected open, time or memory, got {request.get('do')!r}", code="bench_request_unknown")
        except MedImageInsightError as error:
            return {"error": error.to_dict()}
        except Exception as error:  # the messages of a library may contain paths
            if os.environ.get("MI2_DEBUG"):
                sys.excepthook(*sys.exc_info())
            message = f"expected it to run, it failed ({type(error).__name__}): MI2_DEBUG=1 shows more"
            return {"error": {"code": "contestant_failed", "message": message}}

    def _open(self, config: dict[str, Any]) -> dict[str, Any]:
        from medimageinsight.bench.runners import OPENERS, CandidateConfig

        self._prepare = OPENERS[config["candidate"]](CandidateConfig(**config))
        return {"ok": True}

    def _time(self, case: dict[str, Any], sample_s: float) -> dict[str, Any]:
        """Return the seconds of one call; its inputs are made before, and those of the previous case freed."""
        if self._prepare is None:
            raise ModelError("expected open before time, got time first", code="bench_request_unknown")
        if self._call is None or case != self._case:
            self._call = None
            self._call, self._case = self._prepare(case), case
        samples: list[float] = []
        rows = 0
        begin = time.perf_counter()
        while not samples or (time.perf_counter() - begin < sample_s and len(samples) < MAX_CALLS):
            start = time.perf_counter()
            rows = self._call()
            samples.append(time.perf_counter() - start)
        return {"seconds": statistics.median(samples), "rows": rows}


def main() -> None:
    """Answer requests until standard input ends."""
    # Standard output is for answers only; the output of libraries is redirected to standard error.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker()
    for line in sys.stdin.buffer:
        answers.write(json.dumps(worker.answer(json.loads(line))).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
