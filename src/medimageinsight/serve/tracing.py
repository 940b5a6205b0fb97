"""OpenTelemetry traces as an option: nothing is recorded or sent where it is off."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import check_extra
from medimageinsight.serve.trace_context import CURRENT, RequestTrace, parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.serve.otel_spans import SpanRecorder
    from medimageinsight.serve.settings import ServerSettings


class Tracing:
    """Finds the trace of each request, and records it where the operator has named a collector.

    Args:
        settings: The server's options.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._endpoint = settings.otlp_endpoint
        self._recorder: SpanRecorder | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record while the block runs, and then send what is left."""
        if self._endpoint is None:
            yield
            return
        from medimageinsight.serve.otel_spans import SpanRecorder

        self._recorder = SpanRecorder(self._endpoint)
        try:
            yield
        finally:
            self._recorder.close()

    def begin(self, traceparents: Sequence[str], *, routine: bool = False) -> RequestTrace | None:
        """Return the trace of a new request, and make it the current one.

        Args:
            traceparents: The values of its headers ``traceparent``.
            routine: Whether the request is one of those of a monitor: these begin no trace.
        """
        parent = parse_traceparent(traceparents) if traceparents else None
        trace: RequestTrace | None = None
        if self._recorder is not None and (parent is not None or not routine):
            trace = self._recorder.begin(parent)
        elif parent is not None:
            trace = RequestTrace(parent.trace_id)
        CURRENT.set(trace)
        return trace


def check_otel(settings: ServerSettings) -> None:
    """Check that traces can be recorded, if they are wanted.

    Raises:
        MissingExtraError: OpenTelemetry's packages are not installed.
    """
    if settings.otlp_endpoint is None:
        return
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    check_extra("otel", "the server's otlp_endpoint", "opentelemetry.sdk.trace", exporter)
