"""The endpoint's client against a real HTTP server: the local model's results, and every way a server can fail."""

from __future__ import annotations

import base64
import http.client
import io
import json
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset

from medimageinsight import MedImageInsight
from medimageinsight.client import Endpoint
from medimageinsight.client import endpoint as endpoint_module
from medimageinsight.errors import EndpointError, ImageError, InputError, TextError
from medimageinsight.serve import score, to_json
from toy import DIM, LOGIT_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "s3cret-key"
DROP = "drop the connection"


@dataclass
class Scoring:
    """A server that scores with the toy bundle, after the answers that a test has scripted, one a request."""

    model: MedImageInsight
    script: list[Any] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    hangs_up: bool = False
    url: str = ""

    def answer(self, body: bytes) -> Any:
        """``(status, headers, body)``, or `DROP`."""
        if self.script:
            return self.script.pop(0)
        found = score(body, self.model)
        return found.status, {}, to_json(found)

    def cells(self, column: int) -> list[list[str]]:
        """Of each request, the cells of a column."""
        return [[row[column] for row in body["input_data"]["data"]] for _, _, body in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the kernel's acknowledgement of its headers
    scoring: ClassVar[Scoring]

    def setup(self) -> None:
        super().setup()
        self.scoring.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.scoring.requests.append((self.path, dict(self.headers), json.loads(body)))
        answer = self.scoring.answer(body)
        self.close_connection = answer == DROP or self.scoring.hangs_up
        if answer == DROP:
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def running(scoring: Scoring, tls: ssl.SSLContext | None = None) -> Iterator[Scoring]:
    handler = type("Handler", (Handler,), {"scoring": scoring})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        scoring.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        try:
            yield scoring
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def model(toy_bundle: Path) -> Iterator[MedImageInsight]:
    with MedImageInsight.load(toy_bundle, threads=1) as model:
        yield model


@pytest.fixture
def server(model: MedImageInsight) -> Iterator[Scoring]:
    with running(Scoring(model)) as server:
        yield server


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def endpoint(server: Scoring, slept: list[float]) -> Iterator[Endpoint]:
    with Endpoint(server.url, KEY, sleep=slept.append) as endpoint:
        yield endpoint


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key beside it, made for this run."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("a certificate for the test is made by the openssl command, which is not here")
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    out = ["-out", str(file), "-keyout", str(file.with_suffix(".key"))]
    subprocess.run([openssl, "req", "-x509", *kind, *names, *out], check=True, capture_output=True, timeout=60)
    return file


def encoded(picture: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, form, **options)
    return buffer.getvalue()


def rows(*rows: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(rows).encode()


def refusal(status: int, code: str = "some_code", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps({"error": {"code": code, "message": "expected this,\ngot that"}}).encode()


class TestAsTheLocalModel:
    def test_many_images(self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]) -> None:
        embeddings = endpoint.embed_images(pictures)
        assert (embeddings.shape, embeddings.dtype) == ((20, DIM), np.float32)
        np.testing.assert_array_equal(embeddings, model.embed_images(pictures))
        np.testing.assert_array_equal(endpoint.embed_images(iter(pictures)), embeddings)
        np.testing.assert_array_equal(endpoint.embed_images(np.stack(pictures)), embeddings)

    def test_every_kind_of_source_is_the_same_picture(
        self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray], tmp_path: Path
    ) -> None:
        data, path = encoded(pictures[0]), tmp_path / "picture.png"
        path.write_bytes(data)
        uri = f"data:image/png;base64,{base64.encodebytes(data).decode()}"
        expected = model.embed_images(pictures[0])
        assert expected.shape == (DIM,)
        for source in (
            *(path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), uri),
            *(Image.fromarray(pictures[0]), pictures[0]),
        ):
            np.testing.assert_array_equal(endpoint.embed_images(source), expected)

    def test_files_are_sent_as_they_are(self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
        data = encoded(pictures[0], "JPEG")
        endpoint.embed_images(data)
        assert server.cells(0) == [[base64.b64encode(data).decode()]]

    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int16, np.int64, np.float32, np.float64])
    @pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3), (9, 7, 4)])
    @pytest.mark.parametrize("preprocessing", ["direct", "azure"])
    def test_arrays(self, toy_bundle: Path, server: Scoring, dtype: type, shape: Any, preprocessing: Any) -> None:
        array = (np.random.default_rng(3).standard_normal(shape) * 100).astype(dtype)
        with (
            MedImageInsight.load(toy_bundle, threads=1, preprocessing=preprocessing) as local,
            Endpoint(server.url, preprocessing=preprocessing) as endpoint,
        ):
            np.testing.assert_array_equal(endpoint.embed_images(array), local.embed_images(array))

    @pytest.mark.parametrize(
        "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"]
    )
    def test_pil_images(
        self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray], mode: str
    ) -> None:
        picture = Image.fromarray(pictures[0])
        image = picture.convert("L" if mode == "I;16" else "P" if mode == "PA" else mode).convert(mode)
        np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))

    def test_an_images_orientation_is_kept(
        self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        image = Image.open(io.BytesIO(encoded(pictures[0], exif=exif)))
        assert not np.array_equal(model.embed_images(image), model.embed_images(pictures[0]))
        np.testing.assert_array_equal(endpoint.embed_images(image), model.embed_images(image))

    @pytest.mark.parametrize(
        "name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
    )
    def test_dicom(self, endpoint: Endpoint, model: MedImageInsight, name: str) -> None:
        path = get_testdata_file(name, download=False)
        expected = model.embed_images(path)
        np.testing.assert_array_equal(endpoint.embed_images([path, dcmread(path)]), [expected, expected])

    @pytest.mark.parametrize("with_meta", [True, False])
    def test_a_dataset_that_was_never_a_file(
        self, endpoint: Endpoint, model: MedImageInsight, *, with_meta: bool
    ) -> None:
        dataset = Dataset()
        if with_meta:
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 6, 5, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = np.arange(30, dtype=np.uint16).tobytes()
        np.testing.assert_array_equal(endpoint.embed_images(dataset), model.embed_images(dataset))

    def test_a_chosen_frame(self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]) -> None:
        others = [Image.fromarray(picture) for picture in pictures[1:3]]
        stack = encoded(pictures[0], "TIFF", save_all=True, append_images=others)
        np.testing.assert_array_equal(endpoint.embed_images(stack, frame=2), model.embed_images(pictures[2]))
        with pytest.raises(ImageError) as caught:
            endpoint.embed_images(stack, frame=3)
        assert caught.value.code == "image_frame_out_of_range"

    def test_texts(self, endpoint: Endpoint, model: MedImageInsight, server: Scoring) -> None:
        texts = ["ct chest", "", "mr", "ct chest", "Röntgen"]
        embeddings = endpoint.embed_texts(iter(texts))
        assert embeddings.dtype == np.float32
        np.testing.assert_array_equal(embeddings, model.embed_texts(texts))
        assert server.cells(1) == [["ct chest", " ", "mr", "Röntgen"]]
        np.testing.assert_array_equal(endpoint.embed_texts("mr"), model.embed_texts("mr"))

    def test_nothing_gives_no_rows(self, endpoint: Endpoint) -> None:
        assert endpoint.embed_images([]).shape == endpoint.embed_texts([]).shape == (0, DIM)
        assert endpoint.embed_images([], errors="return") == []

    def test_classify_and_similarity(
        self, endpoint: Endpoint, model: MedImageInsight, pictures: list[np.ndarray]
    ) -> None:
        options: dict[str, Any] = {"template": ["{modality} {}", "{}"], "fields": {"modality": "ct"}}
        labels = {"a": ["chest", "lung"], "b": "brain"}
        for sources in (pictures, pictures[0]):
            found = endpoint.classify(sources, labels, **options)
            np.testing.assert_array_equal(found, model.classify(sources, labels, **options))
        bad = endpoint.classify([pictures[0], b"bad"], labels, errors="return")
        assert isinstance(bad[1], ImageError)
        images = endpoint.embed_images(pictures)
        np.testing.assert_array_equal(endpoint.similarity(images, images), model.similarity(images, images))

    def test_the_scale_and_the_length_are_asked_for_once(self, endpoint: Endpoint, server: Scoring) -> None:
        assert (endpoint.logit_scale, endpoint.logit_scale, endpoint.embedding_dim) == (LOGIT_SCALE, LOGIT_SCALE, DIM)
        ((_, _, body),) = server.requests
        assert body["params"] == {"get_scaling_factor": True, "response_shape": "rows"}
        assert body["input_data"]["data"][0][0] is None

    def test_preprocessing(self, server: Scoring, toy_bundle: Path, pictures: list[np.ndarray]) -> None:
        with (
            MedImageInsight.load(toy_bundle, threads=1, preprocessing="azure") as local,
            Endpoint(server.url, preprocessing="azure") as endpoint,
        ):
            np.testing.assert_array_equal(endpoint.embed_images(pictures), local.embed_images(pictures))


class TestRequests:
    def test_what_is_sent(self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
        endpoint.embed_images(pictures[:2])
        ((path, headers, body),) = server.requests
        assert path == "/score"
        assert (headers["Authorization"], headers["Content-Type"]) == (f"Bearer {KEY}", "application/json")
        assert body["params"] == {"get_scaling_factor": False, "response_shape": "rows"}
        assert body["input_data"]["columns"] == ["image", "text"]
        assert body["input_data"]["index"] == [0, 1]
        assert [row[1] for row in body["input_data"]["data"]] == [None, None]

    @pytest.mark.parametrize(
        ("path", "asked"),
        [("", "/score"), ("/", "/score"), ("/score", "/score"), ("/a/b", "/a/b"), ("/a/score?v=1", "/a/score?v=1")],
    )
    def test_the_path(self, server: Scoring, path: str, asked: str) -> None:
        with Endpoint(server.url + path) as endpoint:
            endpoint.embed_texts("ct")
        ((got, headers, _),) = server.requests
        assert got == asked
        assert "Authorization" not in headers

    def test_batches_by_number(self, server: Scoring, pictures: list[np.ndarray]) -> None:
        with Endpoint(server.url, batch_size=3) as endpoint:
            endpoint.embed_images(pictures[:7])
            endpoint.embed_images(pictures[:7], batch_size=5)
            endpoint.classify(pictures[:4], ["a", "b"])
        assert [len(cells) for cells in server.cells(0)] == [3, 3, 1, 5, 2, 2, 3, 1, 1]

    def test_batches_by_size(
        self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cell = len(base64.b64encode(encoded(pictures[0], "BMP")))
        monkeypatch.setattr(endpoint_module, "_LARGEST_BODY", 2 * cell)
        endpoint.embed_images([encoded(picture, "BMP") for picture in pictures[:5]])
        assert [len(cells) for cells in server.cells(0)] == [2, 2, 1]
        monkeypatch.setattr(endpoint_module, "_LARGEST_BODY", 1)
        endpoint.embed_images(pictures[:2])
        assert [len(cells) for cells in server.cells(0)[3:]] == [1, 1]

    def test_many_texts_are_several_requests(self, endpoint: Endpoint, server: Scoring) -> None:
        assert endpoint.embed_texts([f"finding {number}" for number in range(100)]).shape == (100, DIM)
        assert [len(cells) for cells in server.cells(1)] == [64, 36]

    def test_a_generator_is_never_drawn_far_ahead(self, endpoint: Endpoint, pictures: list[np.ndarray]) -> None:
        drawn = 0

        def endless() -> Iterator[np.ndarray]:
            nonlocal drawn
            while True:
                drawn += 1
                yield pictures[0]

        stream = endpoint.stream_images(endless(), batch_size=4)
        furthest = max(drawn - next(stream).index for _ in range(40))
        stream.close()
        assert furthest <= 3 * 4

    def test_progress_counts_to_the_end(self, endpoint: Endpoint, pictures: list[np.ndarray]) -> None:
        seen: list[int] = []
        endpoint.embed_images(pictures, progress=seen.append)
        assert seen == [*range(1, 21)]


class TestConnections:
    def test_one_serves_many_requests(self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
        endpoint.embed_images(pictures)
        endpoint.embed_texts("ct")
        assert (len(server.requests), server.connections) == (4, 1)

    def test_one_that_the_server_closed_is_replaced_without_a_wait(
        self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], slept: list[float]
    ) -> None:
        server.hangs_up = True
        endpoint.embed_images(pictures)
        assert (len(server.requests), server.connections, slept) == (3, 3, [])

    def test_calls_from_many_threads(
        self, endpoint: Endpoint, server: Scoring, model: MedImageInsight, pictures: list[np.ndarray]
    ) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(endpoint.embed_images, pictures))
            scales = set(pool.map(lambda _: endpoint.logit_scale, range(8)))
        np.testing.assert_array_equal(found, [model.embed_images(picture) for picture in pictures])
        assert scales == {LOGIT_SCALE}
        assert server.connections <= 4
        assert len(server.requests) == 21

    def test_a_closed_endpoint_refuses(self, endpoint: Endpoint) -> None:
        endpoint.embed_texts("ct")
        endpoint.close()
        endpoint.close()
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert caught.value.code == "endpoint_closed"


class TestRepeats:
    @pytest.mark.parametrize("status", [429, 503])
    def test_the_servers_own_wait_is_kept(
        self, endpoint: Endpoint, server: Scoring, slept: list[float], status: int
    ) -> None:
        server.script = [refusal(status, **{"Retry-After": wait}) for wait in ("7", "0", "99999999")]
        assert endpoint.embed_texts("ct").shape == (DIM,)
        assert slept == [7, 0, 300]

    @pytest.mark.parametrize("said", [{}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, {"Retry-After": "-1"}])
    def test_else_each_wait_is_twice_the_last(
        self, endpoint: Endpoint, server: Scoring, slept: list[float], said: dict[str, str]
    ) -> None:
        server.script = [refusal(503, **said)] * 3
        endpoint.embed_texts("ct")
        assert slept == [0.5, 1, 2]

    def test_the_wait_has_a_bound(self, server: Scoring, slept: list[float]) -> None:
        server.script = [refusal(503)] * 10
        with Endpoint(server.url, retries=10, sleep=slept.append) as endpoint:
            endpoint.embed_texts("ct")
        assert slept[-3:] == [30, 30, 30]

    def test_a_dropped_connection(self, endpoint: Endpoint, server: Scoring, slept: list[float]) -> None:
        server.script = [DROP, (200, {"Content-Length": "99"}, b"[{"), DROP]
        server.hangs_up = True
        assert endpoint.embed_texts("ct").shape == (DIM,)
        assert slept == [0.5, 1, 2]

    def test_an_answer_given_before_the_body_was_read(
        self, endpoint: Endpoint, server: Scoring, slept: list[float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = http.client.HTTPConnection.request

        def interrupted(*args: Any) -> None:
            request(*args)
            raise BrokenPipeError

        server.script = [refusal(413, "request_too_large")]
        with monkeypatch.context() as patch:
            patch.setattr("http.client.HTTPConnection.request", interrupted)
            (error,) = endpoint.embed_images([b"large"], errors="return")
        assert (type(error), error.code, slept) == (ImageError, "request_too_large", [])
        endpoint.embed_texts("ct")
        assert server.connections == 2

    def test_a_server_that_stays_busy(self, endpoint: Endpoint, server: Scoring) -> None:
        server.script = [refusal(429)] * 5
        with pytest.raises(EndpointError, match=r"got 429 \(some_code\): it is busy, try later") as caught:
            endpoint.embed_texts("ct")
        assert caught.value.status == 429
        assert len(server.requests) == 5

    def test_no_server(self, server: Scoring, slept: list[float]) -> None:
        with running(Scoring(server.model)) as gone:
            pass
        with Endpoint(gone.url, retries=2, sleep=slept.append) as endpoint, pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert (caught.value.code, caught.value.status) == ("endpoint_unreachable", None)
        assert slept == [0.5, 1]
        assert "127.0.0.1" not in caught.value.message

    def test_a_server_that_is_silent(self, slept: list[float]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with (
                Endpoint(url, timeout_s=0.05, retries=1, sleep=slept.append) as endpoint,
                pytest.raises(EndpointError, match="TimeoutError"),
            ):
                endpoint.embed_texts("ct")
        assert slept == [0.5]


class TestFailures:
    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 415, 500, 502])
    def test_of_a_whole_request(
        self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray], slept: list[float], status: int
    ) -> None:
        for sources in (pictures[0], pictures[:2]):
            server.script = [refusal(status)]
            with pytest.raises(EndpointError) as caught:
                endpoint.embed_images(sources, errors="return")
            assert (caught.value.status, caught.value.code) == (status, "endpoint_failed")
            assert caught.value.message.startswith(f"expected status 200 from the endpoint, got {status} (some_code): ")
        assert slept == []

    def test_of_a_request_that_is_too_large(
        self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]
    ) -> None:
        server.script = [refusal(413), refusal(413)]
        with pytest.raises(EndpointError, match="smaller batch_size"):
            endpoint.embed_images(pictures[:2], errors="return")
        (error,) = endpoint.embed_images(pictures[:1], errors="return")
        assert isinstance(error, ImageError)

    @pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"null", b"[" * 100_000])
    def test_an_answer_that_is_no_json(self, endpoint: Endpoint, server: Scoring, content: bytes) -> None:
        server.script = [(200, {}, content), (500, {}, content)]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert (caught.value.code, caught.value.status) == ("endpoint_bad_answer", 200)
        with pytest.raises(EndpointError, match="got 500: "):
            endpoint.embed_texts("ct")

    @pytest.mark.parametrize(
        "answer",
        [
            rows(),
            rows({}, {}),
            rows([]),
            rows({}),
            rows({"text_features": [1, 0]}),
            *(
                rows({"image_features": features})
                for features in (
                    *(None, 3, "ab", [], [[]], [[], []], [["a"]], [[None]], [[1, [2]]], [[1], [2]], [[[1]]], {}),
                    *([[1e300]], [[float("nan")]], [[10**400]]),
                )
            ),
        ],
    )
    def test_an_answer_of_another_form(self, endpoint: Endpoint, server: Scoring, answer: Any) -> None:
        server.script = [answer]
        with pytest.raises(EndpointError) as caught:
            endpoint.embed_images(np.zeros((2, 2)), errors="return")
        assert caught.value.code == "endpoint_bad_answer"

    @pytest.mark.parametrize("scale", [None, "x", [], float("inf")])
    def test_a_scale_that_is_no_number(self, endpoint: Endpoint, server: Scoring, scale: object) -> None:
        server.script = [rows({"text_features": [1, 0], "scaling_factor": scale})]
        with pytest.raises(EndpointError, match="a number as scaling_factor"):
            _ = endpoint.logit_scale

    def test_vectors_of_several_lengths(self, endpoint: Endpoint, server: Scoring) -> None:
        server.script = [rows({"text_features": [1, 0]}, {"text_features": [1, 0, 0]})]
        with pytest.raises(EndpointError, match="one length"):
            endpoint.embed_texts(["a", "b"])

    def test_features_nested_and_flat(self, endpoint: Endpoint, server: Scoring, pictures: list[np.ndarray]) -> None:
        server.script = [rows({"image_features": [[1, 0]]}, {"image_features": [0, 1]})]
        np.testing.assert_array_equal(endpoint.embed_images(pictures[:2]), [[1, 0], [0, 1]])

    def test_an_error_survives_pickling(self) -> None:
        error = pickle.loads(pickle.dumps(EndpointError("expected", code="a", status=500)))
        assert (error.message, error.code, error.status) == ("expected", "a", 500)


class TestBadRows:
    @pytest.fixture
    def sources(self, pictures: list[np.ndarray]) -> list[Any]:
        cut = encoded(pictures[0])[:200]
        return [b"", *pictures[:9], b"not an image", "no-such-file.png", cut, "http://example.org/a.png", Dataset(), 3]

    def test_are_returned_in_their_place_as_by_the_local_model(
        self, endpoint: Endpoint, model: MedImageInsight, sources: list[Any]
    ) -> None:
        found, expected = (each.embed_images(sources, errors="return") for each in (endpoint, model))
        assert [type(one) for one in found] == [type(one) for one in expected]
        np.testing.assert_allclose(found[1:10], expected[1:10], atol=1e-6)
        codes = [getattr(one, "code", None) for one in found]
        wanted = [getattr(one, "code", None) for one in expected]
        assert codes[:14] == wanted[:14]
        assert codes[15] == wanted[15] == "image_bad_source"

    def test_are_skipped(self, endpoint: Endpoint, sources: list[Any]) -> None:
        assert endpoint.embed_images(sources, errors="skip").shape == (9, DIM)
        assert endpoint.embed_images([b"", b"bad"], errors="skip").shape == (0, DIM)

    @pytest.mark.parametrize("bad", [b"", b"not an image"])
    def test_are_raised_and_named(self, endpoint: Endpoint, pictures: list[np.ndarray], bad: bytes) -> None:
        with pytest.raises(ImageError) as caught:
            endpoint.embed_images([*pictures[:10], bad, pictures[0]])
        assert caught.value.__notes__ == ["source 10, counted from 0"]
        with pytest.raises(ImageError):
            endpoint.embed_images(bad, errors="skip")

    def test_a_request_that_fails_for_one_row_is_asked_row_by_row(
        self, endpoint: Endpoint, server: Scoring, model: MedImageInsight, pictures: list[np.ndarray]
    ) -> None:
        """As where the hosted platform answers 424 for a model that failed on one of the rows."""
        server.script = [(424, {}, b"model error")]
        first, second, third = endpoint.embed_images([pictures[0], b"bad", pictures[1]], errors="return")
        np.testing.assert_array_equal([first, third], [model.embed_images(picture) for picture in pictures[:2]])
        assert (type(second), second.code) == (ImageError, "image_not_an_image")
        server.script = [(424, {}, b"model error")]
        with pytest.raises(ImageError) as caught:
            endpoint.embed_images(b"bad")
        assert caught.value.code == "image_refused"

    def test_the_servers_words_are_kept_on_one_line(self, endpoint: Endpoint, server: Scoring) -> None:
        server.script = [refusal(422, "image_odd")]
        with pytest.raises(ImageError, match="expected this, got that") as caught:
            endpoint.embed_images(np.zeros((2, 2)))
        assert caught.value.code == "image_odd"

    @pytest.mark.parametrize("error", ["words", None, {"code": 3, "message": "a"}, {"code": "a"}])
    def test_an_error_without_a_reason(self, endpoint: Endpoint, server: Scoring, error: object) -> None:
        server.script = [rows({"error": error}, {"text_features": [1, 0]})]
        with pytest.raises(TextError) as caught:
            endpoint.embed_texts(["a", "b"])
        assert caught.value.code == "text_refused"

    @pytest.mark.parametrize("texts", [None, 3, b"ct", ["ct", 3]])
    def test_what_is_no_text(self, endpoint: Endpoint, server: Scoring, texts: Any) -> None:
        with pytest.raises(TextError) as caught:
            endpoint.embed_texts(texts)
        assert caught.value.code == "text_not_a_string"
        assert server.requests == []

    @pytest.mark.parametrize("texts", ["\ud800", ["ct", "\ud800"]])
    def test_a_text_that_the_server_refuses(self, endpoint: Endpoint, texts: Any) -> None:
        with pytest.raises(TextError) as caught:
            endpoint.embed_texts(texts)
        assert caught.value.code == "text_not_unicode"


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ({"timeout_s": 0}, "timeout_invalid"),
            ({"retries": -1}, "retries_invalid"),
            ({"batch_size": 0}, "batch_size_invalid"),
            ({"preprocessing": "best"}, "preprocessing_invalid"),
            ({"key": ""}, "key_invalid"),
            ({"key": "s3cret\r\nHost: a"}, "key_invalid"),
            ({"key": "s3crét"}, "key_invalid"),
            *(
                ({"url": url}, "url_invalid")
                for url in (
                    *(
                        "",
                        "localhost",
                        "ftp://s3cret",
                        "http://",
                        "http://s3cret:a",
                        "http://s3cret:99999",
                        "http://[a",
                    ),
                    *("http://me:s3cret@host", "http://host/s3cret a", "http://host/s3crét", "http://host/s3cret\n"),
                )
            ),
        ],
    )
    def test_wrong_ones_are_refused_and_not_repeated(self, arguments: dict[str, Any], code: str) -> None:
        with pytest.raises(InputError) as caught:
            Endpoint(**{"url": "http://127.0.0.1", **arguments})
        assert caught.value.code == code
        assert "s3cr" not in caught.value.message

    @pytest.mark.parametrize(
        ("arguments", "code"), [({"errors": "ignore"}, "errors_invalid"), ({"batch_size": 0}, "batch_size_invalid")]
    )
    def test_wrong_ones_of_a_call(self, endpoint: Endpoint, arguments: dict[str, Any], code: str) -> None:
        with pytest.raises(InputError) as caught:
            endpoint.embed_images([], **arguments)
        assert caught.value.code == code

    def test_a_keys_line_end_is_forgiven(self, server: Scoring) -> None:
        with Endpoint(server.url, f"{KEY}\n") as endpoint:
            endpoint.embed_texts("ct")
        assert server.requests[0][1]["Authorization"] == f"Bearer {KEY}"

    def test_the_key_is_never_shown(self, server: Scoring) -> None:
        with Endpoint(f"{server.url}/score?code={KEY}", KEY) as endpoint:
            assert repr(endpoint) == f"Endpoint('{server.url}/score')"
            server.script = [refusal(401)]
            with pytest.raises(EndpointError, match="check the key") as caught:
                endpoint.embed_texts("ct")
        assert KEY not in repr(caught.value)
        assert KEY not in str(caught.value)


class TestCertificates:
    @pytest.fixture
    def secure(self, model: MedImageInsight, certificate: Path) -> Iterator[Scoring]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        with running(Scoring(model), context) as server:
            yield server

    def test_an_unknown_one_is_refused_at_once(self, secure: Scoring, slept: list[float]) -> None:
        with Endpoint(secure.url, KEY, sleep=slept.append) as endpoint, pytest.raises(EndpointError) as caught:
            endpoint.embed_texts("ct")
        assert (caught.value.code, slept, secure.requests) == ("endpoint_untrusted", [], [])

    def test_one_may_be_trusted_or_none_asked_for(
        self, secure: Scoring, model: MedImageInsight, certificate: Path
    ) -> None:
        for verify in (False, ssl.create_default_context(cafile=str(certificate))):
            with Endpoint(secure.url, verify=verify) as endpoint:
                np.testing.assert_array_equal(endpoint.embed_texts("ct"), model.embed_texts("ct"))
