"""Traces: the header traceparent in the log, and spans that a real collector receives over OTLP/HTTP."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
pytest.importorskip("opentelemetry.sdk.trace", reason="traces need the otel extra")
trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

from medimageinsight.errors import InputError, MissingExtraError
from medimageinsight.serve.app import create_app
from medimageinsight.serve.job import Job, Ticket
from medimageinsight.serve.logs import JsonFormatter
from medimageinsight.serve.settings import load_settings
from medimageinsight.serve.trace_context import CURRENT, RequestTrace, parse_traceparent
from medimageinsight.serve.tracing import check_otel
from tests.serve.image_host import NAME, send
from tests.serve.server_process import TIMEOUT_S, b64, free_port, make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.image_host import ImageHost
    from tests.serve.server_process import ServerProcess

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
STAGES = {"parse", "wait_decode", "decode", "wait_network", "network", "answer", "write"}
INTERNAL, SERVER, CLIENT = 1, 2, 3


class Collector(ThreadingHTTPServer):
    """A collector that stores what it receives, after it has answered the first requests with failures."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.paths: list[str] = []
        self.received: list[Any] = []
        self.bodies: list[bytes] = []
        self.failures = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def processes(self) -> set[str]:
        """The attribute process.pid of the resources."""
        return {
            str(attribute.value.int_value)
            for request in self.received
            for resource in request.resource_spans
            for attribute in resource.resource.attributes
            if attribute.key == "process.pid"
        }


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        failing = self.server.failures > 0
        self.server.failures -= failing
        if not failing:
            self.server.bodies.append(body)
            self.server.received.append(trace_service.ExportTraceServiceRequest.FromString(body))
        self.send_response(400 if failing else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def log_lines(server: ServerProcess, message: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


@pytest.mark.parametrize(
    "header",
    [
        "", "00", f"00-{TRACE}-{PARENT}", f"00-{TRACE}-{PARENT}-01-", f"00-{TRACE}-{PARENT}-01-x",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-1", f"00-{TRACE}-{PARENT}-0x", f"0-{TRACE}-{PARENT}-01", f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}g-01", f"00_{TRACE}_{PARENT}_01", f" 00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01\n",
        f"01-{TRACE}-{PARENT}-01x", "Jane Doe", f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
        f"00-{'٠' * 32}-{PARENT}-01",
    ],
)  # fmt: skip
def test_invalid_parents(header: str) -> None:
    assert parse_traceparent([header]) is None


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(SAMPLED, True), (NOT_SAMPLED, False), (f"00-{TRACE}-{PARENT}-03", True), (f"00-{TRACE}-{PARENT}-fe", False),
     (f"cc-{TRACE}-{PARENT}-01-what the future holds", True), (f"01-{TRACE}-{PARENT}-01", True)],
)  # fmt: skip
def test_valid_parents(header: str, sampled: bool) -> None:
    parent = parse_traceparent([header])
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.sampled) == (TRACE, PARENT, sampled)
    assert parse_traceparent([header, header]) is None


def test_the_log_has_the_trace_of_a_request_without_tracing(server: ServerProcess) -> None:
    trace = os.urandom(16).hex()
    reply = server.get("/version", traceparent=f"00-{trace}-{PARENT}-01")
    assert "traceresponse" not in reply.headers
    server.get("/version", traceparent="Jane Doe")
    assert [line["trace_id"] for line in log_lines(server, "request") if "trace_id" in line].count(trace) == 1
    assert "Jane" not in server.log


def test_errors_in_the_log_have_the_trace(caplog: pytest.LogCaptureFixture) -> None:
    trace = RequestTrace(TRACE)
    job = Job("call", Ticket(deadline=float("inf"), trace=trace), lambda: 1 / 0)
    assert not job.run()  # in a thread of the queue, which has no current request
    (record,) = caplog.records
    assert (record.trace_id, record.error) == (TRACE, "ZeroDivisionError")  # type: ignore[attr-defined]
    token = CURRENT.set(trace)
    try:
        line = json.loads(JsonFormatter().format(logging.makeLogRecord({"msg": "unexpected"})))
    finally:
        CURRENT.reset(token)
    assert line["trace_id"] == TRACE


def test_spans_of_requests_and_their_stages(collector: Collector, toy_bundle: Path, tmp_path: Path) -> None:
    image = b64(make_image(3))
    with run_server(tmp_path, "--model", str(toy_bundle), "--otlp-endpoint", collector.url) as server:
        began = time.time_ns()
        headers = {"traceparent": SAMPLED, "tracestate": "vendor=JaneDoe", "X-Request-Id": "Doe-Jane"}
        body = {"input_data": {"columns": ["image", "text"], "data": [[image, "Jane Doe"], [image, None]]}}
        reply = server.post("/score?model=toy", body, headers)
        assert reply.status == 200
        server.score([None, "without a parent"])
        for path in ("/none/JaneDoe", "/version"):
            server.get(path)
        server.send("PATCH", "/score")
        assert server.stop() in (0, -signal.SIGTERM)
        logged = [line.get("trace_id") for line in log_lines(server, "request") if line["route"] == "/score"]
    assert set(collector.paths) == {"/v1/traces"}
    parts = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    (request,) = (span for span in parts if span.kind == SERVER)
    assert (request.name, request.parent_span_id.hex()) == ("POST /score", PARENT)
    assert attributes(request) == {
        "http.request.method": "POST", "http.route": "/score", "http.response.status_code": 200,
    }  # fmt: skip
    assert reply.headers["traceresponse"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    stages = {span.name: span for span in parts if span.kind == INTERNAL}
    assert set(stages) == STAGES
    for stage in stages.values():
        assert stage.parent_span_id == request.span_id
        assert began <= stage.start_time_unix_nano <= stage.end_time_unix_nano <= request.end_time_unix_nano
    assert attributes(stages["decode"])["mi2.count"] == 2  # the image, once, and the text
    names = [span.name for span in collector.spans if span.kind == SERVER]
    assert sorted(names) == ["GET other", "POST /score", "POST /score", "other /score"]
    assert all(logged[:2])
    assert logged[0] == TRACE
    roots = {span.trace_id.hex() for span in collector.spans if span.kind == SERVER}
    assert len(roots) == 4
    assert logged[1] in roots
    sent = b"".join(collector.bodies)
    for private in (b"Jane", b"Doe", image[:20].encode(), b"vendor", b"without a parent", b"127.0.0.1"):
        assert private not in sent


def test_the_flag_of_the_parent_decides(collector: Collector, toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--otlp-endpoint", f"{collector.url}/v1/traces/") as server:
        reply = server.send("GET", "/v1/models", headers={"traceparent": NOT_SAMPLED})
        assert reply.headers["traceresponse"].startswith(f"00-{TRACE}-")
        assert reply.headers["traceresponse"].endswith("-00")
        server.post("/v1/embeddings", {"input": "x"}, {"traceparent": NOT_SAMPLED})
        server.get("/health/live", traceparent=SAMPLED)
        server.stop()
        assert log_lines(server, "request")[-2]["trace_id"] == TRACE
    assert [span.name for span in collector.spans if span.kind == SERVER] == ["GET /health/live"]


def test_workers_send_what_they_have_when_they_end(collector: Collector, toy_bundle: Path, tmp_path: Path) -> None:
    options = ("--model", str(toy_bundle), "--workers", "2", "--otlp-endpoint", collector.url)
    with run_server(tmp_path, *options) as server:
        deadline = time.monotonic() + TIMEOUT_S
        answered = 0
        while answered < 20 or len({line.get("trace_id") for line in log_lines(server, "request")}) < 20:
            assert time.monotonic() < deadline
            answered += server.get("/v1/models").status == 200
        assert server.stop() == 0
        logged = [line for line in log_lines(server, "request") if line["route"] == "/v1/models"]
    assert {line["trace_id"] for line in logged} == {
        span.trace_id.hex() for span in collector.spans if span.kind == SERVER
    }
    assert 1 <= len(collector.processes) <= 2
    assert str(server.process.pid) not in collector.processes


def test_failures_of_the_collector_disturb_no_request(toy_bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, collecting() as failing:
        failing.failures = 1_000_000
        local = "http://127.0.0.1"
        for address in (f"{local}:{silent.getsockname()[1]}", f"{local}:{free_port()}", failing.url):
            options = ("--model", str(toy_bundle), "--otlp-endpoint", address)
            with run_server(tmp_path, *options, OTEL_BSP_SCHEDULE_DELAY="10") as server:
                for _ in range(20):
                    assert server.score([None, "x-ray"]).status == 200
                assert server.stop() in (0, -signal.SIGTERM)
                assert "Traceback" not in server.log


def test_nothing_is_sent_without_the_setting(collector: Collector, toy_bundle: Path, tmp_path: Path) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "10",
    }  # fmt: skip
    with run_server(tmp_path, "--model", str(toy_bundle), **variables) as server:
        assert server.post("/v1/embeddings", {"input": "x"}, {"traceparent": SAMPLED}).status == 200
        server.stop()
    assert collector.paths == []


def test_a_fetched_image_is_asked_for_in_the_trace(
    collector: Collector, image_host: ImageHost, resolved: dict[str, list[str]], reachable: None, toy_bundle: Path
) -> None:
    from starlette.testclient import TestClient

    resolved["127.0.0.1"] = ["127.0.0.1"]
    image_host.answers = {f"/{seed}.png": send(make_image(seed)) for seed in range(20)}
    rows = [[image_host.url(f"/{seed}.png"), None] for seed in range(20)]
    body = {"input_data": {"columns": ["image", "text"], "data": rows}}

    def ask(*options: str) -> list[str | None]:
        settings = load_settings(["--model", str(toy_bundle), "--url-hosts", image_host.host, *options])
        image_host.headers.clear()
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            deadline = time.monotonic() + TIMEOUT_S
            while client.get("/health/ready").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            reply = client.post("/score", json=body, headers={"traceparent": SAMPLED, "tracestate": "vendor=JaneDoe"})
            assert reply.status_code == 200
        assert not any("tracestate" in headers for headers in image_host.headers)
        return [headers.get("traceparent") for headers in image_host.headers]

    assert ask() == [None] * 20
    sent = ask("--otlp-endpoint", collector.url)
    spans = {span.span_id.hex(): span for span in collector.spans}
    for header in sent:
        parent = parse_traceparent([str(header)])
        assert parent is not None
        assert (parent.trace_id, parent.sampled) == (TRACE, True)
        assert spans[parent.span_id].kind in (CLIENT, SERVER)
    assert sum(span.kind == CLIENT for span in spans.values()) == 16
    assert not any(NAME.encode() in body or b".png" in body for body in collector.bodies)


@pytest.mark.parametrize(
    "value", ["collector:4318", "ftp://a", "http://", "http://u:p@a", "http://a?x=1", "http://a#x", "http://a b"]
)
def test_addresses_that_are_no_collector(value: str) -> None:
    with pytest.raises(InputError, match="otlp_endpoint"):
        load_settings(["--otlp-endpoint", value])


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(["--otlp-endpoint", "http://127.0.0.1:4318"])
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtraError, match="otel"):
        check_otel(settings)
    check_otel(load_settings([]))


def test_grpc(collector: Collector, toy: MedImageInsight, toy_bundle: Path, tmp_path: Path) -> None:
    triton = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    port = free_port()
    options = ("--model", str(toy_bundle), "--grpc-port", str(port), "--otlp-endpoint", collector.url)
    with run_server(tmp_path, *options) as server:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            text = triton.InferInput("text", [1], "BYTES")
            text.set_data_from_numpy(np.array([b"x-ray"], dtype=object))
            assert client.infer("toy", [text], headers={"traceparent": SAMPLED}).as_numpy("text_embeddings") is not None
            assert client.is_server_live()
        server.stop()
        (line,) = (line for line in log_lines(server, "request") if line["route"] == "grpc/ModelInfer")
        assert line["trace_id"] == TRACE
    (request,) = (span for span in collector.spans if span.kind == SERVER)
    assert (request.name, request.trace_id.hex()) == ("grpc/ModelInfer", TRACE)
    assert attributes(request) == {"rpc.system": "grpc", "rpc.method": "ModelInfer", "rpc.grpc.status_code": 0}
    assert {"decode", "network"} <= {span.name for span in collector.spans}
