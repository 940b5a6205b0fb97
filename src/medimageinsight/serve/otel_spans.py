"""Spans of OpenTelemetry for requests and their stages, sent to a collector over OTLP/HTTP.

Spans have the route, the status, counts and durations: no path, text, address, name of a caller, or error's message.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from medimageinsight.serve.trace_context import RequestTrace, TraceParent
from medimageinsight.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import Span, Tracer

_PATH = "/v1/traces"  # of OTLP/HTTP
_EXPORT_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 5.0
_MAX_FETCHES = 16  # spans of a request


class SpanRecorder:
    """Records spans of one process, and sends them from a thread of its own; failures there reach no request.

    What OpenTelemetry's own environment variables state is respected, such as OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER
    and OTEL_EXPORTER_OTLP_HEADERS; but for the address.

    Args:
        endpoint: URL of the collector.
    """

    def __init__(self, endpoint: str) -> None:
        url = endpoint.rstrip("/")
        exporter = OTLPSpanExporter(url if url.endswith(_PATH) else url + _PATH, timeout=_EXPORT_TIMEOUT_S)
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("medimageinsight.serve", __version__)

    def begin(self, parent: TraceParent | None) -> RecordedTrace:
        """Return the trace of a request that begins now, a part of the parent's trace if there is one."""
        return RecordedTrace(self._tracer, parent)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="mi2-spans", daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT_S)


@dataclass(kw_only=True)
class _Stage:
    """The parts of one kind of a request's work: when the first began and the last ended, and their sum."""

    started: float
    ended: float
    seconds: float = 0.0
    count: int = 0


class RecordedTrace(RequestTrace):
    """The trace of one request with a span for it, and one for each kind of work; thread-safe.

    A request has thousands of images at most, whose work is added to one span of its kind.
    """

    def __init__(self, tracer: Tracer, parent: TraceParent | None) -> None:
        self._tracer = tracer
        self._span = tracer.start_span("request", _context_of(parent), SpanKind.SERVER)
        context = self._span.get_span_context()
        super().__init__(format_trace_id(context.trace_id))
        self.response_header = _header_of(self._span)
        self._epoch_ns = time.time_ns() - time.monotonic_ns()  # when time.monotonic was 0
        self._stages: dict[str, _Stage] = {}
        self._fetches = 0
        self._lock = threading.Lock()

    def stage(self, name: str, started: float, ended: float) -> None:
        """Record a part of the work, by times of ``time.monotonic``."""
        if not self._span.is_recording():
            return
        with self._lock:
            stage = self._stages.setdefault(name, _Stage(started=started, ended=ended))
            stage.started, stage.ended = min(stage.started, started), max(stage.ended, ended)
            stage.seconds += ended - started
            stage.count += 1

    @contextmanager
    def fetching(self) -> Iterator[str | None]:
        """Record a request of the server while the block runs, and yield its ``traceparent``."""
        self._fetches += 1
        if self._fetches > _MAX_FETCHES:
            yield _header_of(self._span)
            return
        span = self._tracer.start_span("fetch", set_span_in_context(self._span, Context()), SpanKind.CLIENT)
        try:
            yield _header_of(span)
        finally:
            span.end()

    def end(self, name: str, attributes: Mapping[str, str | int], *, failed: bool) -> None:
        """Record the end of the request, and its stages."""
        if not self._span.is_recording():
            return
        context = set_span_in_context(self._span, Context())
        with self._lock:
            stages, self._stages = self._stages, {}
        for kind, stage in stages.items():
            counted: dict[str, int | float] = {"mi2.count": stage.count, "mi2.seconds": stage.seconds}
            child = self._tracer.start_span(kind, context, attributes=counted, start_time=self._ns(stage.started))
            child.end(self._ns(stage.ended))
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _ns(self, monotonic: float) -> int:
        return self._epoch_ns + int(monotonic * 1e9)


def _resource() -> Resource:
    """Describe this process; names of the environment precede."""
    own: dict[str, str | int] = {"service.version": __version__, "process.pid": os.getpid()}
    given = Resource.create()
    if str(given.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        own["service.name"] = "medimageinsight"
    return given.merge(Resource(own))


def _context_of(parent: TraceParent | None) -> Context:
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    span = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(span), Context())


def _header_of(span: Span) -> str:
    context = span.get_span_context()
    parent = TraceParent(
        trace_id=format_trace_id(context.trace_id),
        span_id=format_span_id(context.span_id),
        sampled=context.trace_flags.sampled,
    )
    return str(parent)
