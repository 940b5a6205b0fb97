"""Uploads: files as bodies and in forms, within limits while they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")
httpx = pytest.importorskip("httpx", reason="needs the client extra")

from tests.serve.server_process import make_image, run_server

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight import MedImageInsight
    from tests.serve.server_process import ServerProcess

SECRET = "Jane^Doe"
IMAGES = [make_image(1), make_image(2, form="JPEG")]


def upload(server: ServerProcess, **options: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/api/embed", timeout=60, trust_env=False, **options)


def equal(result: Any, expected: Any) -> bool:
    return bool(np.allclose(np.asarray(result["embedding"], dtype=np.float32), expected, atol=1e-5))


@pytest.mark.parametrize(
    "media_type", ["image/png", "application/dicom", "application/octet-stream", "IMAGE/JPEG; q=1"]
)
def test_a_file_is_a_body(server: ServerProcess, toy: MedImageInsight, media_type: str) -> None:
    response = upload(server, content=IMAGES[0], headers={"Content-Type": media_type}, params={"frame": "0"})
    assert response.json()["model"] == "toy"
    assert equal(response.json()["results"][0], toy.embed_images(IMAGES)[0])


def test_a_form_has_files_texts_and_parameters(server: ServerProcess, toy: MedImageInsight) -> None:
    parts = [
        ("file", (f"{SECRET}.png", IMAGES[0], "image/png")),
        ("text", (None, "x-ray chest")),
        (SECRET, ("x", b"no image", "text/plain")),
        ("file", (None, IMAGES[1], "image/jpeg")),
        ("text", (None, b"\xff\xfe")),
        ("text", (None, "")),
        ("window", (None, "1%-99%")),
        ("model", (None, "toy")),
    ]
    response = upload(server, files=parts)
    results = response.json()["results"]
    images = toy.embed_images(IMAGES)
    assert equal(results[0], images[0])
    assert equal(results[1], toy.embed_texts("x-ray chest"))
    assert equal(results[3], images[1])
    codes = [results[index]["error"]["code"] for index in (2, 4, 5)]
    assert codes == ["image_not_an_image", "text_not_unicode", "row_empty"]
    assert SECRET not in response.text
    assert SECRET not in server.log


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b""}, 422, "image_empty"),
        ({"content": b"x"}, 422, None),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "content_type_unsupported"),
        ({"content": b"x", "headers": {"Content-Encoding": "gzip"}}, 415, "content_type_unsupported"),
        ({"content": IMAGES[0], "params": {"frame": "x"}}, 400, "request_invalid"),
        ({"content": IMAGES[0], "params": {"window": "x"}}, 400, "window_invalid"),
        ({"content": IMAGES[0], "params": {"model": "other"}}, 404, "model_not_found"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "request_invalid"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "request_invalid"),
        ({"content": b"--x--", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 422, "row_empty"),
        ({"files": {"unknown": (None, "x"), "text": (None, "x")}}, 400, "request_invalid"),
        ({"files": [("frame", (None, "1")), ("frame", (None, "2"))]}, 400, "request_invalid"),
        ({"files": {"x" * 9000: (None, "x")}}, 400, "request_invalid"),
    ],
)
def test_errors(server: ServerProcess, options: dict[str, Any], status: int, code: str | None) -> None:
    if "content" in options:
        options = {**options, "headers": {"Content-Type": "image/png", **options.get("headers", {})}}
    response = upload(server, **options)
    assert response.status_code == status, response.text
    assert code in (None, response.json()["error"]["code"])


def test_parts_and_sizes_are_limited_while_they_arrive(toy_bundle: Path, tmp_path: Path) -> None:
    options = ("--max-rows", "3", "--max-body-bytes", "100000")
    with run_server(tmp_path, "--model", str(toy_bundle), *options) as server:
        many = upload(server, files=[("text", (None, "x"))] * 4)
        assert (many.status_code, many.json()["error"]["code"]) == (413, "request_too_many_rows")
        large = upload(server, files={"file": ("x", bytes(100_000), "image/png")})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
        with server.connect() as connection:  # the answer comes before the end of the body
            part = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\na\r\n'
            head = b"POST /api/embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n"
            connection.sendall(head + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + part * 5)
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_the_document_states_the_body(server: ServerProcess) -> None:
    content = server.get("/swagger.json").json["paths"]["/api/embed"]["post"]["requestBody"]["content"]
    assert set(content) == {"image/*", "application/dicom", "application/octet-stream", "multipart/form-data"}
