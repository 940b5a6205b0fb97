"""The trace that a request belongs to, by the header ``traceparent`` (W3C Trace Context).

``tracestate`` and baggage are not read: they may contain anything, and nothing is passed on of what is not known.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1  # the bit of the flags


@dataclass(frozen=True, kw_only=True)
class TraceParent:
    """The trace and the span that a request is a part of, in hexadecimal digits."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parse_traceparent(values: Sequence[str]) -> TraceParent | None:
    """Return the parent that the headers ``traceparent`` of a request name; None unless there is exactly one valid one.

    A later version than 00 may append members, which are ignored.
    """
    match = _FORM.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & _SAMPLED))


class RequestTrace:
    """The trace of one request; this class only knows its id, see `otel_spans.RecordedTrace`."""

    response_header: str | None = None  # traceresponse

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id

    def stage(self, name: str, started: float, ended: float) -> None:
        """Record a part of the work, by times of ``time.monotonic``."""

    @contextmanager
    def fetching(self) -> Iterator[str | None]:
        """Record a request of the server while the block runs, and yield its ``traceparent``, None for none."""
        yield None

    def end(self, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Record the end of the request."""


CURRENT: ContextVar[RequestTrace | None] = ContextVar("CURRENT", default=None)
"""The trace of the current request."""


@contextmanager
def fetching() -> Iterator[str | None]:
    """As `RequestTrace.fetching`, of the current request."""
    trace = CURRENT.get()
    if trace is None:
        yield None
        return
    with trace.fetching() as traceparent:
        yield traceparent
