"""Bombs through every route that takes an image: an error for each, little memory, and no effect on other requests.

The routes are those of the OpenAPI document, so a new one must be added here.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the server needs the serve extra")
pytest.importorskip("lancedb", reason="a store in a folder needs the search extra")

from tests.serve.bombs import Bomb, make_bombs
from tests.serve.described import PNG, described, operations
from tests.serve.server_process import ServerProcess, b64, free_port, make_image, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight import MedImageInsight
    from tests.serve.store_fixtures import ChestStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MAX_BYTES = 20_000_000  # of a body, and so of an image
MAX_GROWTH = 100 << 20  # bytes of the process; one of the bombs would be 3.6 billion
BOMBS = make_bombs(MAX_BYTES)
SMALL_IMAGE = make_image()
# For routes whose examples have no image.
MORE_BODIES = {"/api/search": {"store": "chest", "image": PNG}}
BOUNDARY = "limit"
STORED = {"0.png": "png", "1.png": "tiff"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """A way to send an image to a route, with a body in JSON or the type of another one."""

    path: str
    media_type: str
    template: str = ""  # JSON with `PNG` in it
    takes_frame: bool = False

    def request(self, bomb: Bomb) -> tuple[str, bytes, dict[str, str]]:
        """Return path, body and headers."""
        path = self.path.replace("{model}", "toy").replace("{version}", "1")
        headers = {"Content-Type": self.media_type.replace("*", "png")}
        if self.template:
            body = json.loads(self.template.replace(PNG, b64(bomb.content)))
            if bomb.frame:
                body |= {"params": {"frame": bomb.frame}} if "input_data" in body else {"frame": bomb.frame}
            return path, json.dumps(body).encode(), headers
        if path.startswith("/v2"):
            head, tensor = _binary_tensor(bomb.content, SMALL_IMAGE)
            return path, head + tensor, headers | {"Inference-Header-Content-Length": str(len(head))}
        path = f"{path}?frame={bomb.frame}"
        if self.media_type == "multipart/form-data":
            headers["Content-Type"] += f"; boundary={BOUNDARY}"
            return path, _multipart(*([bomb.content] if bomb.frame else [bomb.content, SMALL_IMAGE])), headers
        return path, bomb.content, headers


def forms() -> Iterator[Form]:
    """Yield the ways to send an image, of every route with a body."""
    document = described()
    for method, path, operation in operations(document):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            assert method == "post"
            if media_type != "application/json":
                yield Form(path=path, media_type=media_type, takes_frame=not path.startswith("/v2"))
                continue
            examples = [example["value"] for example in content["examples"].values()]
            templates = [json.dumps(body) for body in (*examples, MORE_BODIES.get(path, {}))]
            with_image = [template for template in templates if PNG in template]
            assert with_image, f"{path}: add a body with an image, or state here that it takes none"
            name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
            takes_frame = path == "/score" or "frame" in document["components"]["schemas"][name].get("properties", ())
            for template in with_image:
                yield Form(path=path, media_type=media_type, template=template, takes_frame=takes_frame)


FORMS = list(forms())


def test_every_way_to_get_an_image_is_tested() -> None:
    """Of routes without a body, two decode images (see the test of stored bombs)."""
    show = {
        path
        for method, path, operation in operations(described())
        for content in operation["responses"].get("200", {}).get("content", ())
        if method == "get" and content.startswith("image/")
    }
    assert show == {"/api/picture", "/api/slide/region"}
    assert {form.path for form in FORMS} >= {"/score", "/v1/embeddings", "/api/view", "/api/embed"}


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def bombed(
    toy: MedImageInsight, toy_bundle: Path, chest: ChestStore, grpc_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server, two of whose stored images have been replaced by bombs."""
    folder = tmp_path_factory.mktemp("bombs")
    shutil.copytree(chest.images, folder / "images")
    for name, bomb in STORED.items():
        (folder / "images" / name).write_bytes(BOMBS[bomb].content)
    options = ["--max-body-bytes", str(MAX_BYTES), "--store", f"chest={chest.location}"]
    options += ["--image-folders", str(folder / "images")]
    try:
        import grpc  # noqa: F401 - whether the extra is installed
    except ImportError:
        pass
    else:
        options += ["--grpc-port", str(grpc_port)]
    with run_server(folder, "--model", str(toy_bundle), *options) as server:
        yield server


@pytest.fixture
def in_bounds(bombed: ServerProcess) -> Iterator[ServerProcess]:
    """The server, which must answer others and need little memory while a test runs."""
    bombed.score([b64(SMALL_IMAGE), None])
    stopped = threading.Event()
    refused: list[bytes] = []

    def ask() -> int:
        count = 0
        while not stopped.is_set() or not count:
            reply = bombed.score([b64(SMALL_IMAGE), "x-ray"])
            refused.extend([reply.body] if reply.status != 200 else [])
            count += 1
        return count

    reset_peak(bombed.process.pid)
    before = peak(bombed.process.pid)
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(ask)
        try:
            yield bombed
        finally:
            stopped.set()
        assert others.result() > 0
    assert not refused
    assert bombed.process.poll() is None
    assert bombed.get("/health/ready").status == 200
    assert peak(bombed.process.pid) < before + MAX_GROWTH


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.path[1:]} {form.media_type}")
def test_bombs_are_errors(in_bounds: ServerProcess, form: Form) -> None:
    for name, bomb in BOMBS.items():
        if bomb.frame and not form.takes_frame:
            continue
        reply = in_bounds.send("POST", *form.request(bomb))
        assert reply.status in (200, 422), (name, reply.body)
        assert bomb.code in codes(reply.json), (name, reply.body)
        if reply.status == 200:
            assert set(codes(reply.json)) == {bomb.code}


def test_bombs_at_the_same_time(in_bounds: ServerProcess) -> None:
    def send(form: Form) -> set[int]:
        bombs = [bomb for bomb in BOMBS.values() if form.takes_frame or not bomb.frame]
        return {in_bounds.send("POST", *form.request(bomb)).status for bomb in bombs}

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(send, FORMS)) <= {200, 422}


def test_rows_of_bombs(in_bounds: ServerProcess) -> None:
    bombs = [bomb for bomb in BOMBS.values() if not bomb.frame]
    rows: list[list[str | None]] = [row for bomb in bombs for row in ([b64(bomb.content), None], [None, "x-ray"])]
    results = in_bounds.score(*rows, [b64(SMALL_IMAGE), None]).json
    assert [result["error"]["code"] for result in results[:-1:2]] == [bomb.code for bomb in bombs]
    assert all("text_features" in result for result in results[1::2])
    assert "image_features" in results[-1]


def test_stored_bombs(in_bounds: ServerProcess) -> None:
    region = "x=0&y=0&width=50000&height=50000&size=1024"
    for number in range(len(STORED)):
        for path in (f"/api/picture?id={number}", f"/api/slide?id={number}", f"/api/slide/region?id={number}&{region}"):
            refused = in_bounds.get(f"{path}&store=chest")
            assert (refused.status, refused.json["error"]["code"]) == (404, "picture_not_available"), path
    assert in_bounds.get("/api/picture?store=chest&id=2").status == 200


def test_bombs_over_grpc(in_bounds: ServerProcess, grpc_port: int) -> None:
    pytest.importorskip("grpc", reason="needs the extra grpc")
    triton = pytest.importorskip("tritonclient.grpc", reason="Triton's client is a tool for development")
    with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
        for bomb in BOMBS.values():
            tensor = triton.InferInput("image", [1], "BYTES")
            tensor.set_data_from_numpy(np.array([bomb.content], dtype=object))
            with pytest.raises(triton.InferenceServerException, match=rf"{bomb.code}: image\[0\]"):
                client.infer("toy", [tensor], parameters={"frame": bomb.frame} if bomb.frame else None)


def codes(answer: Any) -> list[str]:
    """Return the codes of errors, wherever an answer has them."""
    if isinstance(answer, list):
        return [code for item in answer for code in codes(item)]
    if not isinstance(answer, dict):
        return []
    error = answer.get("error")
    if isinstance(error, str):
        return [error.partition(":")[0]]
    found = [error["code"]] if isinstance(error, dict) else []
    return found + [code for name, item in answer.items() if name != "error" for code in codes(item)]


def reset_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def peak(process: int) -> int:
    """Return the most resident bytes of a process since `reset_peak`."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10


def _binary_tensor(*images: bytes) -> tuple[bytes, bytes]:
    elements = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    parameters = {"binary_data_size": len(elements)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "parameters": parameters}
    return json.dumps({"inputs": [tensor]}).encode(), elements


def _multipart(*files: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()
