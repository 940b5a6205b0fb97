"""The Open Inference Protocol over HTTP, as Triton's own client sends it, and malformed binary requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
triton = pytest.importorskip("tritonclient.http", reason="Triton's client is a tool for development")

from tests.serve.server_process import b64, make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import Reply, ServerProcess

TEXTS = ["x-ray chest anteroposterior Cardiomegaly", "dermatology, Größe"]
HEADER = "Inference-Header-Content-Length"
INFER = "/v2/models/toy/infer"


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as opened:
        yield opened


def tensor(name: str, elements: list[bytes], *, binary: bool) -> Any:
    made = triton.InferInput(name, [len(elements)], "BYTES")
    made.set_data_from_numpy(np.array(elements, dtype=object), binary_data=binary)
    return made


def text_input(*, binary: bool) -> Any:
    return tensor("text", [text.encode() for text in TEXTS], binary=binary)


def scored(server: ServerProcess, *images: bytes) -> dict[str, np.ndarray]:
    """The embeddings that /score gives."""
    texts = server.score(*([None, text] for text in TEXTS)).json
    rows = server.score(*([b64(image), None] for image in images), preprocessing="azure").json if images else []
    return {
        "text_embeddings": np.float32([row["text_features"] for row in texts]),
        "image_embeddings": np.float32([row["image_features"][0] for row in rows]),
    }


@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("binary_output", [False, True, None])
@pytest.mark.parametrize("version", ["", "1"])
def test_every_mode_of_data_gives_the_same_bits_as_scoring(
    server: ServerProcess, client: Any, binary_input: bool, binary_output: bool | None, version: str
) -> None:
    image = make_image(3)
    outputs = None
    if binary_output is not None:
        outputs = [
            triton.InferRequestedOutput(name, binary_data=binary_output)
            for name in ("text_embeddings", "image_embeddings")
        ]
    inputs = [text_input(binary=binary_input), tensor("image", [b64(image).encode()], binary=binary_input)]
    result = client.infer(
        "toy", inputs, outputs=outputs, model_version=version, request_id="a 7", parameters={"preprocessing": "azure"}
    )
    for name, values in scored(server, image).items():
        np.testing.assert_array_equal(result.as_numpy(name), values)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("a 7", "toy", "1")


def test_modes_can_be_mixed_and_outputs_chosen(server: ServerProcess, client: Any) -> None:
    inputs = [text_input(binary=False), tensor("image", [make_image(4)], binary=True)]
    outputs = [
        triton.InferRequestedOutput("image_embeddings", binary_data=False),
        triton.InferRequestedOutput("text_embeddings", binary_data=True),
    ]
    result = client.infer("toy", inputs, outputs=outputs, parameters={"preprocessing": "azure"})
    for name, values in scored(server, make_image(4)).items():
        np.testing.assert_array_equal(result.as_numpy(name), values)
    assert "data" in result.get_output("image_embeddings")
    assert result.get_output("text_embeddings")["parameters"]["binary_data_size"] == 2 * 8 * 4
    only = client.infer("toy", inputs, outputs=outputs[1:])
    assert only.as_numpy("image_embeddings") is None
    assert only.as_numpy("text_embeddings").shape == (2, 8)


@pytest.mark.parametrize("element", ["file", "base64", "uri"])
def test_an_image_is_a_file_base64_or_a_data_uri(server: ServerProcess, client: Any, element: str) -> None:
    image = b"P2\n2 2\n255\n0 1 2 3\n" if element == "file" else make_image(5)  # no byte that base64 has not
    encoded = {"file": image, "base64": b64(image).encode(), "uri": b"data:image/png;base64," + b64(image).encode()}
    result = client.infer(
        "toy", [tensor("image", [encoded[element]], binary=True)], parameters={"preprocessing": "azure"}
    )
    np.testing.assert_array_equal(result.as_numpy("image_embeddings"), scored(server, image)["image_embeddings"])


@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("accepted", [None, "gzip", "deflate"])
def test_bodies_are_compressed(server: ServerProcess, client: Any, sent: str | None, accepted: str | None) -> None:
    for count in (1, 200):  # a small answer, and one that is worth compressing
        many = [tensor("text", [text.encode() for text in TEXTS] * count, binary=True)]
        result = client.infer("toy", many, request_compression_algorithm=sent, response_compression_algorithm=accepted)
        expected = np.tile(scored(server)["text_embeddings"], (count, 1))
        np.testing.assert_array_equal(result.as_numpy("text_embeddings"), expected)
    if accepted:
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [200], "data": ["x"] * 200}]}
        reply = server.post(INFER, body, {"Accept-Encoding": accepted})
        assert reply.headers["content-encoding"] == accepted
        plain = gzip.decompress(reply.body) if accepted == "gzip" else zlib.decompress(reply.body)
        assert len(json.loads(plain)["outputs"][0]["data"]) == 200 * 8


def test_asynchronous_requests(server: ServerProcess, client: Any) -> None:
    pending = [client.async_infer("toy", [text_input(binary=True)]) for _ in range(4)]
    expected = scored(server)["text_embeddings"]
    for request in pending:
        np.testing.assert_array_equal(request.get_result().as_numpy("text_embeddings"), expected)


def test_the_client_for_asyncio(server: ServerProcess) -> None:
    aio = pytest.importorskip("tritonclient.http.aio", reason="needs aiohttp")

    async def run() -> list[np.ndarray]:
        async with aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_model_ready("toy")
            results = []
            for binary in (False, True):
                for accepted in (None, "gzip", "deflate"):
                    result = await client.infer(
                        "toy", [text_input(binary=binary)], response_compression_algorithm=accepted
                    )
                    results.append(result.as_numpy("text_embeddings"))
            return results

    for result in asyncio.run(run()):
        np.testing.assert_array_equal(result, scored(server)["text_embeddings"])


def test_metadata_configuration_and_versions(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert {"binary_tensor_data", "statistics"} <= set(client.get_server_metadata()["extensions"])
    for version in ("", "1"):
        assert client.is_model_ready("toy", version)
        metadata = client.get_model_metadata("toy", version)
        assert (metadata["versions"], metadata["outputs"][0]["shape"]) == (["1"], [-1, 8])
        assert client.get_model_config("toy", version)["output"][1]["dims"] == [-1, 8]
    assert client.get_model_repository_index() == [{"name": "toy", "version": "1", "state": "READY"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/ready"), ("GET", "/stats"), ("GET", "/config"), ("POST", "/infer")],
)
def test_another_version_is_not_found(server: ServerProcess, client: Any, method: str, path: str) -> None:
    reply = server.send(method, f"/v2/models/toy/versions/2{path}")
    assert reply.status == 404
    assert reply.json["error"].startswith("model_version_not_found: ")
    assert not client.is_model_ready("toy", "2")


def test_statistics_count_what_was_done(server: ServerProcess, client: Any) -> None:
    def read(version: str = "") -> Any:
        return client.get_inference_statistics("toy", version)["model_stats"][0]

    before = read()
    client.infer("toy", [tensor("image", [make_image(6), make_image(7)], binary=True)])
    with pytest.raises(triton.InferenceServerException):
        client.infer("toy", [tensor("image", [b"\x00no image"], binary=True)])
    after = read("1")
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] > before["execution_count"]
    assert after["last_inference"] > 1_700_000_000_000
    for stage, count in {"success": 1, "fail": 1, "queue": 2, "compute_input": 3, "compute_output": 1}.items():
        duration = after["inference_stats"][stage]
        assert duration["count"] - before["inference_stats"][stage]["count"] == count, stage
        assert duration["ns"] > before["inference_stats"][stage]["ns"] or stage == "queue"
    assert sum(batch["compute_infer"]["count"] for batch in after["batch_stats"]) == after["execution_count"]
    assert [stats["name"] for stats in client.get_inference_statistics()["model_stats"]] == ["toy"]


def body(*tensors: tuple[str, Any, Any, bytes], **members: Any) -> tuple[bytes, int]:
    """A request with binary tensors of these names, shapes, stated sizes and contents."""
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": shape, "parameters": {"binary_data_size": size}}
        for name, shape, size, _ in tensors
    ]
    head = json.dumps({"inputs": inputs, **members}).encode()
    return head + b"".join(content for *_, content in tensors), len(head)


def element(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def send(server: ServerProcess, content: bytes, length: Any, **headers: str) -> Reply:
    sent = {HEADER: str(length), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return server.send("POST", INFER, content, sent)


GOOD = element(b"x")


@pytest.mark.parametrize(
    "tensors",
    [
        [("text", [1], 6, GOOD)],  # more bytes stated than there are
        [("text", [1], 4, GOOD)],  # fewer
        [("text", [1], -5, GOOD)],
        [("text", [1], 2**63, GOOD)],
        [("text", [1], 5.0, GOOD)],
        [("text", [1], True, GOOD)],
        [("text", [1], "5", GOOD)],
        [("text", [2], 5, GOOD)],
        [("text", [0], 5, GOOD)],
        [("text", [-1], 5, GOOD)],
        [("text", [1, 2], 5, GOOD)],
        [("text", [2**40], 5, GOOD)],
        [("text", "x", 5, GOOD)],
        [("text", None, 5, GOOD)],
        [("text", [1], 5, b"\xff\xff\xff\xffx")],  # an element longer than its tensor
        [("text", [1], 3, b"\x01\x00\x00")],
        [("text", [1], 4, element(b""))],
        [("text", [1], 5, GOOD), ("image", [1], 5, b"")],  # the second's bytes are the first's
        [("text", [1], 5, GOOD), ("text", [1], 5, GOOD)],
        [("other", [1], 5, GOOD)],
        [("text", [1], 6, element(b"\xff\xfe"))],
        [("image", [1], 5, GOOD)],
        [("text", [1], 0, b"")],
    ],
)
def test_malformed_tensors_are_errors_of_the_client(server: ServerProcess, tensors: Any) -> None:
    reply = send(server, *body(*tensors))
    assert 400 <= reply.status < 500
    assert reply.status not in (404, 429)
    assert isinstance(reply.json["error"], str)
    assert server.get("/health/live").status == 200


@pytest.mark.parametrize("length", ["-1", "x", "", "1e3", "+5", "99999999", "9" * 40, "0", "12", "١"])
def test_a_malformed_length_of_the_json_is_refused(server: ServerProcess, length: str) -> None:
    content, _ = body(("text", [1], 5, GOOD))
    connection = send(server, content, length.encode().decode("latin-1"))
    assert connection.status == 400


def test_a_float_tensor_and_data_twice_are_refused(server: ServerProcess) -> None:
    content, length = body(("text", [1], 5, GOOD))
    assert send(server, content, length).status == 200
    as_float = content.replace(b"BYTES", b"FP32 ")
    assert send(server, as_float, length).json["error"].startswith("request_invalid: ")
    twice = json.dumps({"inputs": [{**json.loads(content[:length])["inputs"][0], "data": ["x"]}]}).encode()
    assert send(server, twice + GOOD, len(twice)).status == 400
    assert server.send("POST", INFER, content[:length]).status == 400  # no header, no tensor


def test_an_id_with_half_a_surrogate_pair_comes_back(server: ServerProcess) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}
    reply = server.post(INFER, {"id": "\ud800", "inputs": [tensor]})
    assert (reply.status, reply.json["id"]) == (200, "\ud800")
    bad = server.post(INFER, {"inputs": [{**tensor, "data": ["\ud800"]}]})
    assert (bad.status, bad.json["error"].partition(":")[0]) == (422, "text_not_unicode")


def test_too_many_elements_are_refused_before_they_are_read(server: ServerProcess) -> None:
    reply = send(server, *body(("text", [2000], 8000, b"\0" * 8000)))
    assert (reply.status, reply.json["error"].partition(":")[0]) == (413, "request_too_many_rows")


def test_content_types(server: ServerProcess) -> None:
    content = json.dumps({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}).encode()
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "application/octet-stream"}):
        assert server.send("POST", INFER, content, headers).status == 200
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Origin": f"http://127.0.0.1:{server.port}"},  # of a page, whose bodies without a type need no permission
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
    ):
        assert server.send("POST", INFER, content, headers).status in (403, 415)


def test_damaged_and_endless_compressed_bodies(server: ServerProcess, toy_bundle: Path, tmp_path: Path) -> None:
    content = json.dumps({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}]}).encode()
    packed = gzip.compress(content)
    half = gzip.compress(content[:20]) + gzip.compress(content[20:])
    assert server.send("POST", INFER, half, {"Content-Encoding": "gzip"}).status == 200
    for sent, coding in (
        (packed[:-1], "gzip"), (packed + b"x", "gzip"), (content, "gzip"), (packed, "deflate"), (b"", "gzip"),
        (gzip.compress(b"") * 1000, "gzip"), (zlib.compress(content) * 2, "deflate"), (packed[:-4] + b"\0" * 4, "gzip"),
    ):  # fmt: skip
        reply = server.send("POST", INFER, sent, {"Content-Encoding": coding})
        assert (reply.status, reply.json["error"].partition(":")[0]) == (400, "request_not_decompressible")
    with run_server(tmp_path, "--model", str(toy_bundle), "--max-body-bytes", "1000000") as small:
        before = memory_mb(small.process.pid)
        for coding, bomb in (
            ("gzip", gzip.compress(b" " * 500_000_000)),
            ("deflate", zlib.compress(b" " * 900_000_000)),
        ):
            reply = small.send("POST", INFER, bomb[:999_000], {"Content-Encoding": coding})
            assert (reply.status, reply.json["error"].partition(":")[0]) == (413, "request_too_large")
        assert memory_mb(small.process.pid) - before < 20


def memory_mb(pid: int) -> float:
    from pathlib import Path

    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
