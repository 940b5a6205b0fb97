"""Responses are compressed as clients prefer, on every route."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
zstandard = pytest.importorskip("zstandard", reason="needs the zstd extra")
httpx = pytest.importorskip("httpx", reason="a client that decompresses")

from starlette.responses import Response, StreamingResponse

from medimageinsight.serve.compression import Compression, choose_coding
from tests.serve.server_process import b64, make_image, run_server, score_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.serve.server_process import ServerProcess

TEXT = b"a long text " * 100
MANY = score_request(*[[None, f"text {number}"] for number in range(200)])
DECODERS = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstandard.ZstdDecompressor().decompress}
ROUTES = [
    ("/score", MANY),
    ("/v1/embeddings", {"input": ["x"] * 300}),
    ("/v2/models/toy/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [300], "data": ["x"] * 300}]}),
    ("/swagger.json", None),
]


@pytest.mark.parametrize("coding", sorted(DECODERS))
@pytest.mark.parametrize(("path", "content"), ROUTES, ids=[path for path, _ in ROUTES])
def test_every_route(server: ServerProcess, path: str, content: object, coding: str) -> None:
    def ask(accepted: str) -> httpx.Response:
        if content is None:
            return httpx.get(server.url + path, headers={"Accept-Encoding": accepted})
        return httpx.post(server.url + path, json=content, headers={"Accept-Encoding": accepted})

    plain, packed = ask("identity"), ask(coding)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == coding
    assert int(packed.headers["content-length"]) < 0.7 * len(plain.content)
    assert packed.content == plain.content
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"


def test_head_has_the_headers_of_get(server: ServerProcess) -> None:
    get, head = (
        server.send(method, "/swagger.json", headers={"Accept-Encoding": "gzip"}) for method in ("GET", "HEAD")
    )
    assert (head.body, head.headers["content-length"]) == (b"", get.headers["content-length"])
    assert head.headers["content-encoding"] == "gzip"


def test_small_responses_and_images_are_sent_as_they_are(
    server: ServerProcess, toy_bundle: Path, tmp_path: Path
) -> None:
    every = {"Accept-Encoding": "gzip, zstd, deflate"}
    for path in ("/version", "/none", "/api/picture?store=chest&id=0"):
        assert "content-encoding" not in server.send("GET", path, headers=every).headers
    with run_server(tmp_path, "--model", str(toy_bundle), "--compress-min-bytes", "1") as other:
        assert other.send("GET", "/version", headers=every).headers["content-encoding"] == "zstd"
        assert other.send("GET", "/none", headers=every).headers["content-encoding"] == "zstd"
        seen = other.send("POST", "/api/view", json.dumps({"image": b64(make_image())}).encode(),
                          {**every, "Content-Type": "application/json"})  # fmt: skip
        assert seen.headers["content-encoding"] == "zstd"
        assert other.get("/ping").headers["vary"] == "Accept-Encoding"
    with run_server(tmp_path, "--model", str(toy_bundle), "--compress-min-bytes", "0") as other:
        reply = other.send("GET", "/swagger.json", headers=every)
        assert not {"content-encoding", "vary"} & set(reply.headers)


def test_a_client_that_refuses_plain_bodies(server: ServerProcess) -> None:
    reply = server.get("/version", **{"Accept-Encoding": "gzip, identity;q=0"})
    assert json.loads(gzip.decompress(reply.body))["models"] == ["toy"]
    assert server.get("/version", **{"Accept-Encoding": "br, identity;q=0"}).json["models"] == ["toy"]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("gzip;q=0.8, deflate;q=0.9", "deflate"),
        ("deflate, gzip;q=1.0", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip ; Q=0.000 , deflate", "deflate"),
        ("identity, gzip;q=0.5", "identity"),
        ("identity;q=0.4, gzip;q=0.5", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("*", "gzip"),
        ("*, gzip;q=0", "deflate"),
        ("*;q=0", "identity"),
        ("*;q=0, gzip", "gzip"),
        ("br", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=-1", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip;level=9", "identity"),
        (",,;, gzip,", "gzip"),
        ("\x00gzip", "identity"),
        ("a," * 100_000 + "gzip", "identity"),
    ],
)
def test_preferences(accepted: str, coding: str) -> None:
    assert choose_coding(accepted)[0] == coding


@pytest.mark.parametrize(
    ("accepted", "must"),
    [
        ("gzip, identity;q=0", True), ("*;q=0, gzip", True), ("gzip", False), ("gzip, *;q=0, identity;q=0.1", False),
        ("identity;q=0", False), ("*;q=0", False),
    ],
)  # fmt: skip
def test_whether_plain_bodies_are_refused(accepted: str, must: bool) -> None:
    assert choose_coding(accepted)[1] is must


@pytest.mark.parametrize(
    ("response", "coding"),
    [
        (Response(TEXT, media_type="application/json"), "gzip"),
        (Response(TEXT, media_type="image/svg+xml"), "gzip"),
        (Response(TEXT, media_type="text/event-stream"), None),
        (Response(TEXT, media_type="image/png"), None),
        (Response(TEXT, media_type="image/jpeg"), None),
        (Response(TEXT), None),
        (Response(TEXT, media_type="text/plain", headers={"Content-Encoding": "br"}), "br"),
        (Response(TEXT, media_type="text/plain", headers={"Cache-Control": "no-transform"}), None),
        (Response(TEXT[:99], media_type="text/plain"), None),
        (StreamingResponse(iter([TEXT, TEXT]), media_type="text/plain"), None),
        (StreamingResponse(iter([TEXT, TEXT]), media_type="text/event-stream"), None),
    ],
    ids=lambda value: getattr(value, "media_type", None),
)
def test_which_responses(response: Response, coding: str | None) -> None:
    sizes: list[int] = []

    async def run(size: int, function: Callable[[], bytes]) -> bytes:
        sizes.append(size)  # so that a thread can be chosen
        return function()

    async def ask() -> httpx.Response:
        app = Compression(response, min_bytes=100, run=run)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            async with client.stream("GET", "http://server/", headers={"Accept-Encoding": "gzip"}) as received:
                received.extensions["body"] = b"".join([chunk async for chunk in received.aiter_raw()])
            return received

    found = asyncio.run(ask())
    assert found.headers.get("content-encoding") == coding
    assert sizes == ([len(TEXT)] if coding == "gzip" else [])
    body = found.extensions["body"]
    assert (gzip.decompress(body) if coding == "gzip" else body) in (TEXT, TEXT[:99], TEXT * 2)
    assert ("vary" in found.headers) is (coding == "gzip")
