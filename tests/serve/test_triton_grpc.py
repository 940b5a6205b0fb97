"""The Open Inference Protocol over gRPC, as Triton's own client sends it, and malformed or hostile calls."""

from __future__ import annotations

import asyncio
import gzip
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
grpc = pytest.importorskip("grpc", reason="needs the extra grpc")
triton = pytest.importorskip("tritonclient.grpc", reason="Triton's client is a tool for development")

from tests.serve.server_process import TIMEOUT_S, b64, free_port, make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

TEXTS = ["x-ray chest anteroposterior Cardiomegaly", "dermatology, Größe"]
MAX_BODY = 2_000_000
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def grpc_server(port: int, toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--grpc-port", str(port), "--max-body-bytes", str(MAX_BODY), "--body-timeout-s", "1")
    with run_server(tmp_path_factory.mktemp("grpc"), "--model", str(toy_bundle), *options) as process:
        yield process


@pytest.fixture
def client(grpc_server: ServerProcess, port: int) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as opened:
        yield opened


@pytest.fixture
def channel(grpc_server: ServerProcess, port: int) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as opened:
        yield opened


def tensor(name: str, elements: list[bytes], api: Any = triton) -> Any:
    made = api.InferInput(name, [len(elements)], "BYTES")
    made.set_data_from_numpy(np.array(elements, dtype=object))
    return made


def texts() -> Any:
    return tensor("text", [text.encode() for text in TEXTS])


def scored(server: ServerProcess, *images: bytes) -> dict[str, np.ndarray]:
    """The embeddings that /score gives."""
    rows = server.score(
        *([None, text] for text in TEXTS), *([b64(image), None] for image in images), preprocessing="azure"
    ).json
    return {
        "text_embeddings": np.float32([row["text_features"] for row in rows if "text_features" in row]),
        "image_embeddings": np.float32([row["image_features"][0] for row in rows if "image_features" in row]),
    }


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("version", ["", "1"])
def test_the_same_bits_as_scoring(
    grpc_server: ServerProcess, client: Any, compression: str | None, version: str
) -> None:
    images = [make_image(1), make_image(2, (400, 300), "JPEG")]
    elements = [images[0], b64(images[1]).encode()]
    result = client.infer(
        "toy", [tensor("image", elements), texts()], model_version=version, request_id="a 7",
        compression_algorithm=compression, parameters={"preprocessing": "azure", "other": 0.5, "flag": True},
    )  # fmt: skip
    for name, values in scored(grpc_server, *images).items():
        np.testing.assert_array_equal(result.as_numpy(name), values)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("a 7", "toy", "1")
    chosen = client.infer("toy", [texts()], outputs=[triton.InferRequestedOutput("text_embeddings")])
    np.testing.assert_array_equal(chosen.as_numpy("text_embeddings"), result.as_numpy("text_embeddings"))


def test_contents_that_are_not_raw(grpc_server: ServerProcess, channel: Any) -> None:
    request = infer_request(texts_as_contents=True)
    response = triton.service_pb2.ModelInferResponse.FromString(channel.unary_unary(INFER)(request.SerializeToString()))
    values = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(response.outputs[0].shape)
    np.testing.assert_array_equal(values, scored(grpc_server)["text_embeddings"])


def test_asynchronous_calls(grpc_server: ServerProcess, client: Any, port: int) -> None:
    expected = scored(grpc_server)["text_embeddings"]
    answers: list[Any] = []
    arrived = threading.Semaphore(0)

    def done(result: Any, error: Any) -> None:
        answers.append(error or result)
        arrived.release()

    for _ in range(8):
        client.async_infer("toy", [texts()], callback=done)
    assert all(arrived.acquire(timeout=TIMEOUT_S) for _ in range(8))
    for answer in answers:
        np.testing.assert_array_equal(answer.as_numpy("text_embeddings"), expected)

    aio = pytest.importorskip("tritonclient.grpc.aio", reason="a part of Triton's client")

    async def run() -> np.ndarray:
        async with aio.InferenceServerClient(f"127.0.0.1:{port}") as opened:
            return (await opened.infer("toy", [texts()])).as_numpy("text_embeddings")

    np.testing.assert_array_equal(asyncio.run(run()), expected)


def test_metadata_statistics_and_versions(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", "1")
    assert "statistics" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("toy")
    assert (list(metadata.versions), list(metadata.outputs[0].shape)) == (["1"], [-1, 8])
    config = client.get_model_config("toy", as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert [model.name for model in client.get_model_repository_index().models] == ["toy"]
    before = client.get_inference_statistics("toy").model_stats[0]
    client.infer("toy", [texts()])
    after = client.get_inference_statistics().model_stats[0]
    assert after.inference_count - before.inference_count == 2
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    for call in (client.get_model_metadata, client.is_model_ready, client.get_inference_statistics):
        with pytest.raises(triton.InferenceServerException, match="model_version_not_found") as caught:
            call("toy", "2")
        assert caught.value.status() == "StatusCode.NOT_FOUND"
    with pytest.raises(triton.InferenceServerException, match="model_not_found"):
        client.infer("none", [texts()])


def infer_request(*, texts_as_contents: bool = False, **members: Any) -> Any:
    messages = triton.service_pb2
    request = messages.ModelInferRequest(model_name="toy", **members)
    if texts_as_contents:
        made = request.inputs.add(name="text", datatype="BYTES", shape=[len(TEXTS)])
        made.contents.bytes_contents.extend(text.encode() for text in TEXTS)
    return request


def with_input(shape: list[int], *raw: bytes, name: str = "text", datatype: str = "BYTES") -> bytes:
    request = infer_request(raw_input_contents=raw)
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    content: bytes = request.SerializeToString()
    return content


GOOD = b"\x01\0\0\0x"
CONTENTS_TWICE = infer_request(texts_as_contents=True, raw_input_contents=[GOOD]).SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xff no message",
        b"\x1f\x8b no gzip",
        b"\x78 no deflate",
        with_input([1], GOOD, GOOD),
        with_input([1]),
        with_input([2], GOOD),
        with_input([0], GOOD),
        with_input([-1], GOOD),
        with_input([2**62, 4], GOOD),
        with_input([], GOOD),
        with_input([1, 2], GOOD),
        with_input([1], b"\xff\xff\xff\xffx"),
        with_input([1], b"\x01"),
        with_input([1], b"\0\0\0\0"),
        with_input([1], b"\x01\0\0\0\xff"),
        with_input([1], GOOD, name="image"),
        with_input([1], GOOD, name="other"),
        with_input([1], GOOD, datatype="FP32"),
        with_input([5000], b"\0" * 20_000),
        CONTENTS_TWICE,
        infer_request(texts_as_contents=True, outputs=[{"name": "other"}]).SerializeToString(),
    ],
)
def test_malformed_messages_are_errors_of_the_client(grpc_server: ServerProcess, channel: Any, content: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(INFER)(content)
    expected = grpc.StatusCode.NOT_FOUND if not content else grpc.StatusCode.INVALID_ARGUMENT  # no model is named ""
    assert caught.value.code() == expected
    assert grpc_server.get("/health/live").status == 200


def test_messages_have_a_limit_sent_and_decompressed(grpc_server: ServerProcess, channel: Any) -> None:
    before = memory_mb(grpc_server.process.pid)
    for content in (b"x" * (MAX_BODY + 1), gzip.compress(b"\x0a" * 1_000_000_000, 9)):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER)(content)
        assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    assert "request_too_large" in caught.value.details()
    assert memory_mb(grpc_server.process.pid) - before < 20


def test_a_call_without_a_message_ends(channel: Any) -> None:
    silent = threading.Event()

    def requests() -> Iterator[bytes]:
        silent.wait(TIMEOUT_S)
        yield b""

    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(INFER)(requests(), timeout=TIMEOUT_S)
    assert channel.stream_unary("/inference.GRPCInferenceService/ServerLive")(requests(), timeout=TIMEOUT_S)
    silent.set()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "request_timeout" in caught.value.details()


def test_work_of_a_cancelled_call_is_dropped(toy_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    options = ("--model", str(toy_bundle), "--grpc-port", str(port), "--batch-images", "1")
    with (
        run_server(tmp_path, *options) as server,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        images = [make_image(seed, (400, 400), "BMP") for seed in range(100)]
        results: list[Any] = []
        call = client.async_infer(
            "toy", [tensor("image", images)], callback=lambda result, error: results.append((result, error))
        )
        wait_for(lambda: server.metric("mi2_queue_rows") == 100)
        call.cancel()
        wait_for(lambda: server.metric("mi2_queue_rows") == 0)
        wait_for(lambda: '"route": "grpc/ModelInfer", "status": 499' in server.log)
        assert results[0][0] is None


def test_keys_and_tls_and_the_end_of_the_server(toy_bundle: Path, tmp_path: Path) -> None:
    key, port = "0123456789abcdef-one", free_port()
    (tmp_path / "keys").write_text(key)
    (tmp_path / "keys").chmod(0o600)
    names = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost", "-out", str(names[0]), "-keyout", str(names[1])]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    options = ("--model", str(toy_bundle), "--grpc-port", str(port), "--api-key-file", str(tmp_path / "keys"),
               "--tls-cert", str(names[0]), "--tls-key", str(names[1]))  # fmt: skip
    with run_server(tmp_path, *options, ready=False) as server:
        with triton.InferenceServerClient(f"localhost:{port}", ssl=True, root_certificates=str(names[0])) as client:
            wait_for(lambda: is_ready(client))
            for headers in (None, {"authorization": "Bearer another-key-of-this"}, {"api-key": "x" * 20}):
                for call in (lambda sent: client.infer("toy", [texts()], headers=sent), client_metadata(client)):
                    with pytest.raises(triton.InferenceServerException, match="key_invalid") as caught:
                        call(headers)
                    assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
            for headers in ({"authorization": f"Bearer {key}"}, {"api-key": key}, {"x-api-key": key}):
                assert client.infer("toy", [texts()], headers=headers).as_numpy("text_embeddings").shape == (2, 8)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT_S) in (0, -signal.SIGTERM)


def test_a_call_in_progress_ends_before_the_server(toy_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    options = ("--model", str(toy_bundle), "--grpc-port", str(port), "--batch-images", "1", "--drain-delay-s", "1")
    with (
        run_server(tmp_path, *options) as server,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        images = [make_image(seed, (400, 400), "BMP") for seed in range(60)]
        results: list[Any] = []
        client.async_infer(
            "toy", [tensor("image", images)], callback=lambda result, error: results.append(error or result)
        )
        wait_for(lambda: server.metric("mi2_queue_rows") == 60)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in server.log)
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("toy", [texts()])
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        wait_for(lambda: results)
        assert results[0].as_numpy("image_embeddings").shape == (60, 8)
        assert server.process.wait(TIMEOUT_S) in (0, -signal.SIGTERM)


def test_health_checks_of_orchestrators(channel: Any) -> None:
    assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"  # SERVING
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.health.v1.Health/None")(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def client_metadata(client: Any) -> Any:
    return lambda headers: client.get_model_metadata("toy", headers=headers)


def test_a_taken_port_is_an_error_before_the_server_starts(
    grpc_server: ServerProcess, port: int, tmp_path: Path
) -> None:
    with run_server(tmp_path, "--grpc-port", str(port), ready=False) as server:
        assert server.process.wait(TIMEOUT_S) != 0
        assert "address_not_available" in server.log or "can listen on" in server.log


def test_several_workers_share_the_port(toy_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    with run_server(tmp_path, "--model", str(toy_bundle), "--grpc-port", str(port), "--workers", "2"):
        for _ in range(6):
            with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
                wait_for(lambda client=client: is_ready(client))
                assert client.infer("toy", [texts()]).as_numpy("text_embeddings").shape == (2, 8)


def is_ready(client: Any) -> bool:
    try:
        return bool(client.is_server_ready())
    except triton.InferenceServerException:
        return False


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def memory_mb(pid: int) -> float:
    from pathlib import Path

    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
