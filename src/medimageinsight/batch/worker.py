"""The process of a worker: settings and parts as lines of JSON on standard input, events on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from medimageinsight.batch.engine import ModelSettings
from medimageinsight.batch.part import embed_part
from medimageinsight.batch.plan import Part
from medimageinsight.errors import MedImageInsightError

if TYPE_CHECKING:
    from collections import Counter
    from typing import TextIO

REPORT_SECONDS = 0.5


def main() -> None:
    """Embed the parts that standard input names, until it ends."""
    events = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # a library that prints would break a line of events
    try:
        model = ModelSettings(**json.loads(sys.stdin.readline())).load()
        _send(events, ready=True)
        for line in sys.stdin:
            result = embed_part(Part(**json.loads(line)), model, progress=_Report(events))
            _send(events, done=result.rows, errors=dict(result.errors))
    except MedImageInsightError as error:
        _send(events, failed=error.to_dict())
    except OSError as error:
        _send(events, failed={"code": "file_failed", "message": f"expected files that can be used: {error.strerror}"})
    except Exception as error:  # its text may contain data; the part is tried again, then set aside
        if os.environ.get("MI2_DEBUG"):
            raise
        sys.exit(f"a worker ended: {type(error).__name__}; repeat the call with MI2_DEBUG=1 to see why")


class _Report:
    """Sends the progress of a part, at most twice a second."""

    def __init__(self, events: TextIO) -> None:
        self._events = events
        self._next = time.monotonic() + REPORT_SECONDS

    def __call__(self, rows: int, errors: Counter[str]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_SECONDS
            _send(self._events, running=rows, errors=dict(errors))


def _send(events: TextIO, **event: Any) -> None:  # noqa: ANN401 - JSON
    events.write(json.dumps(event) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
