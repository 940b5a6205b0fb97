"""Operation: health, keys, TLS, pages, metrics, several models and workers, OpenAI's and the inference protocol."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import shutil
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")

from medimageinsight.bundle import Manifest
from medimageinsight.version import __version__
from tests.serve.server_process import TIMEOUT_S, b64, free_port, make_image, run_server, score_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

KEY, OTHER_KEY = "0123456789abcdef-one", "0123456789abcdef-two"
OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/ping", "/version", "/")
KEYED = ("/docs", "/swagger.json", "/metrics", "/v1/models", "/v2", "/v2/models/toy")


def test_health_version_and_documentation(server: ServerProcess) -> None:
    assert server.get("/health/live").status == server.get("/ping").status == 200
    assert server.get("/health/ready").json["ready"] is True
    assert server.get("/version").json == {"version": __version__, "models": ["toy"]}
    assert server.get("/").body == b"Healthy"
    page = server.get("/", Accept="text/html,*/*")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert server.get("/docs").headers["content-type"].startswith("text/html")
    assert server.get("/swagger.json").json["paths"]["/score"]["post"]


def test_unknown_routes_and_methods(server: ServerProcess) -> None:
    assert server.get("/none").json["error"]["code"] == "route_not_found"
    reply = server.get("/score")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert server.get("/v1/none").json["error"]["type"] == "invalid_request_error"
    assert isinstance(server.get("/v2/none").json["error"], str)


def test_prometheus_metrics(server: ServerProcess) -> None:
    before = server.metric("mi2_text_cache_hits_total"), server.metric("mi2_rows_total")
    for _ in range(2):
        server.score([None, "a text that is sent twice"])
    server.score([b64(b"no image"), None])
    assert server.metric("mi2_text_cache_hits_total") >= before[0] + 1
    assert server.metric("mi2_rows_total") == before[1] + 3
    text = server.get("/metrics").body.decode()
    assert 'mi2_errors_total{code="image_not_an_image"}' in text
    for name in ("mi2_queue_rows", "mi2_batch_size_count", "mi2_stage_seconds_count", "mi2_request_seconds_count"):
        assert name in text


def test_the_log_has_no_content_of_requests(server: ServerProcess) -> None:
    image = make_image(77)
    server.post("/score?model=Doe^Jane", score_request([b64(image), "Jane Doe's film"]), {"X-Request-Id": "known-id"})
    reply = server.post("/score", score_request([b64(image), "Jane Doe's film"]), {"X-Request-Id": "known-id"})
    assert reply.headers["x-request-id"] == "known-id"
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert any(line.get("request_id") == "known-id" and line["status"] == 200 for line in lines)
    assert "Jane" not in server.log
    assert b64(image)[:40] not in server.log


def test_keys(toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the lab\n{KEY}\n")
    file.chmod(0o600)
    with run_server(tmp_path, "--model", str(toy_bundle), "--api-key-file", str(file)) as server:
        for path in OPEN:
            assert server.get(path).status == 200, path
        for path in KEYED:
            assert server.get(path).status == 401, path
            assert server.get(path, Authorization=f"Bearer {KEY}").status == 200, path
        without = server.score([None, "x-ray"])
        assert (without.status, without.json["error"]["code"]) == (401, "key_invalid")
        assert without.headers["www-authenticate"] == "Bearer"
        page = server.get("/", Accept="text/html")
        assert (page.status, page.headers["www-authenticate"].split()[0]) == (401, "Basic")
        password = base64.b64encode(f"anyone:{KEY}".encode()).decode()
        assert server.get("/", Accept="text/html", Authorization=f"Basic {password}").status == 200
        assert server.get("/v1/models", Authorization=f"Bearer {KEY[:-1]}").status == 401

        file.write_text(f"{OTHER_KEY}\n")
        deadline = time.monotonic() + TIMEOUT_S
        while server.get("/v1/models", Authorization=f"Bearer {OTHER_KEY}").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.get("/v1/models", Authorization=f"Bearer {KEY}").status == 401
        assert KEY not in server.log
        assert OTHER_KEY not in server.log


def test_tls(toy_bundle: Path, toy: MedImageInsight, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    authority, key = certificate
    options = ("--tls-cert", str(authority), "--tls-key", str(key), "--model", str(toy_bundle))
    options += ("--header-timeout-s", "2", "--max-connections", "10")
    context = ssl.create_default_context(cafile=authority)

    def send(method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            for _ in range(2):  # the connection is used again
                connection.request(method, path, body, headers)
                answer = connection.getresponse().read()
        return answer

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return send("GET", "/health/ready").startswith(b'{"status":"ready"')
        return False

    with run_server(tmp_path, *options, ready=False) as server:
        wait_for(answers)
        image = make_image(1, (1200, 1200))  # megabytes
        (row,) = json.loads(send("POST", "/score", json.dumps(score_request([b64(image), None])).encode()))
        np.testing.assert_allclose(row["image_features"][0], toy.embed_images(image), atol=1e-5)
        with contextlib.ExitStack() as half_open:
            half = [half_open.enter_context(server.connect()) for _ in range(50)]
            assert send("GET", "/ping") == b"pong", "within the limit, others are served"
            half += [half_open.enter_context(server.connect()) for _ in range(100)]
            for connection in half:  # one too many is refused, the others end after the header timeout
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1) == b""
        for hello in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(1000)):
            with server.connect() as connection, contextlib.suppress(ConnectionResetError):
                connection.sendall(hello)
                while connection.recv(100):
                    pass
        assert send("GET", "/ping") == b"pong"
        assert "Traceback" not in server.log


def test_cors_is_off_by_default(server: ServerProcess, toy_bundle: Path, tmp_path: Path) -> None:
    preflight = {"Origin": "https://lab.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.send("OPTIONS", "/score", headers=preflight).headers
    with run_server(tmp_path, "--model", str(toy_bundle), "--cors-origins", "https://lab.example") as other:
        reply = other.send("OPTIONS", "/score", headers=preflight)
        assert reply.headers["access-control-allow-origin"] == "https://lab.example"
        foreign = other.send("OPTIONS", "/score", headers={**preflight, "Origin": "https://other.example"})
        assert "access-control-allow-origin" not in foreign.headers


def test_several_models_on_one_server(toy_bundle: Path, tmp_path: Path) -> None:
    other = shutil.copytree(toy_bundle, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "name": "other"}))
    assert Manifest.load(other).name == "other"
    with run_server(tmp_path, "--model", f"{toy_bundle},{other}") as server:
        assert [model["id"] for model in server.get("/v1/models").json["data"]] == ["toy", "other"]
        for name in ("toy", "other"):
            assert server.post(f"/score?model={name}", score_request([None, "x-ray"])).status == 200
            assert server.post("/v1/embeddings", {"model": name, "input": "x-ray"}).json["model"] == name
            assert server.get(f"/v2/models/{name}/ready").json["ready"] is True


def test_workers_share_the_port_and_the_metrics(toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--workers", "2") as server:
        done = 0
        deadline = time.monotonic() + TIMEOUT_S
        while done < 20:
            assert time.monotonic() < deadline
            done += server.score([None, "x-ray"]).status == 200
        assert server.metric("mi2_rows_total") >= 20
        server.stop()


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--model", "/none"], "bundle"), (["--api-key-file", "/none"], "key"), (["--port", "x"], "port")],
)
def test_a_failed_start_prints_one_line(tmp_path: Path, options: list[str], code: str) -> None:
    with run_server(tmp_path, *options, ready=False) as server:
        assert server.process.wait(TIMEOUT_S) in (1, 2)
        assert code in server.log
        assert "Traceback" not in server.log
        assert len(server.log.strip().splitlines()) <= 4


def test_a_model_that_cannot_run_ends_the_process(toy_bundle: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(toy_bundle, tmp_path / "broken")
    graph = broken / "image_encoder.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    with run_server(tmp_path, "--model", str(broken), ready=False) as server:
        assert server.process.wait(TIMEOUT_S) == 1
        assert "cannot be loaded" in server.log
        assert "Traceback" not in server.log


def test_a_port_in_use(server: ServerProcess, toy_bundle: Path, tmp_path: Path) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), "--port", str(server.port), ready=False) as second:
        assert second.process.wait(TIMEOUT_S) != 0
        assert "Traceback" not in second.log


def test_options_from_environment_variables(toy_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    with run_server(tmp_path, "--port", str(port), MI2_MODEL=str(toy_bundle), MI2_RESPONSE_SHAPE="rows",
                 ready=False) as server:  # fmt: skip
        server.port = port
        server.wait_until_ready()
        body = {**score_request([b64(make_image()), "x-ray"]), "params": {"get_scaling_factor": True}}
        (row,) = server.post("/score", body).json
        assert set(row) == {"image_features", "text_features", "scaling_factor"}


def test_sends_no_telemetry(toy_bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        variables = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": address}
        with run_server(tmp_path, "--model", str(toy_bundle), **variables) as server:
            assert server.score([None, "x-ray"]).status == 200
            assert server.stop() in (0, -signal.SIGTERM)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_openai(server: ServerProcess, toy: MedImageInsight) -> None:
    uri = "data:image/png;base64," + b64(make_image())
    inputs = ["x-ray", uri, {"image": b64(make_image())}, {"text": "mri"}]
    reply = server.post("/v1/embeddings", {"model": "toy", "input": inputs})
    found = [np.float32(item["embedding"]) for item in reply.json["data"]]
    image = toy.embed_images(make_image())
    np.testing.assert_array_equal(found, [toy.embed_texts("x-ray"), image, image, toy.embed_texts("mri")])
    assert [item["index"] for item in reply.json["data"]] == [0, 1, 2, 3]
    assert reply.json["usage"]["prompt_tokens"] == sum(map(len, toy.tokenizer.encode(["x-ray", "mri"])))
    packed = server.post("/v1/embeddings", {"input": "x-ray", "encoding_format": "base64"}).json
    vector = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    np.testing.assert_array_equal(vector, toy.embed_texts("x-ray"))
    assert server.get("/v1/models/toy").json["id"] == "toy"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ({"input": "a", "dimensions": 4}, 400, "dimensions_unsupported"),
        ({"input": [1, 2]}, 400, "request_invalid"),
        ({"input": [[1, 2]]}, 400, "request_invalid"),
        ({"input": []}, 400, "request_invalid"),
        ({"input": ""}, 400, "request_invalid"),
        ({}, 400, "request_invalid"),
        ({"input": "a", "encoding_format": "hex"}, 400, "request_invalid"),
        ({"input": "a", "model": "none"}, 404, "model_not_found"),
        ({"input": ["a", {"image": "AAAA"}]}, 422, "image_not_an_image"),
        ({"input": ["a"] * 1025}, 413, "request_too_many_rows"),
    ],
)
def test_openai_errors(server: ServerProcess, content: Any, status: int, code: str) -> None:
    reply = server.post("/v1/embeddings", content)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}


def test_open_inference(server: ServerProcess, toy: MedImageInsight) -> None:
    assert server.get("/v2").json["name"] == "medimageinsight"
    assert server.get("/v2/models/toy").json["outputs"][0]["shape"] == [-1, 8]
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [2, 1],
        "data": [[b64(make_image(n))] for n in range(2)],
    }
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x-ray"]}
    answer = server.post("/v2/models/toy/infer", {"id": "7", "inputs": [image, text]}).json
    assert (answer["id"], answer["model_name"]) == ("7", "toy")
    images, texts = answer["outputs"]
    assert (images["name"], images["shape"], texts["shape"]) == ("image_embeddings", [2, 8], [1, 8])
    expected = toy.embed_images([make_image(0), make_image(1)])
    np.testing.assert_allclose(np.float32(images["data"]).reshape(2, 8), expected, atol=1e-6)
    chosen = {"inputs": [image, text], "outputs": [{"name": "text_embeddings"}]}
    assert [output["name"] for output in server.post("/v2/models/toy/infer", chosen).json["outputs"]] == [
        "text_embeddings"
    ]


@pytest.mark.parametrize(
    ("tensor", "status"),
    [
        ({"name": "image", "datatype": "FP32", "shape": [1], "data": [1.0]}, 400),
        ({"name": ["image"], "datatype": "BYTES", "shape": [1], "data": ["a"]}, 400),
        ({"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a"]}, 400),
        ({"name": "text", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]}, 400),
        ({"name": "text", "datatype": "BYTES", "shape": [1], "data": [""]}, 400),
        ({"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}, 422),
    ],
)
def test_open_inference_errors(server: ServerProcess, tensor: Any, status: int) -> None:
    reply = server.post("/v2/models/toy/infer", {"inputs": [tensor]})
    assert reply.status == status
    assert isinstance(reply.json["error"], str)
    assert server.post("/v2/models/none/infer", {"inputs": [tensor]}).status == 404


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.1)
