"""The server's log: one JSON object per line on standard error, without data of requests."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from medimageinsight.serve.trace_context import CURRENT

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record's message and extra fields. Of an exception only its type: its text may quote a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _STANDARD},
        }
        if (trace := CURRENT.get()) is not None:
            line.setdefault("trace_id", trace.trace_id)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, default=str)


def configure_logging(level: str) -> None:
    """Log this package and uvicorn to standard error, and other packages from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("medimageinsight", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    # This package logs each request itself, without the path and the address that uvicorn's line has.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
