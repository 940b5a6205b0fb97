"""DICOMweb servers that stall, lie or refuse: each failure has its own error, and the rest is read."""

from __future__ import annotations

import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("dicomweb_client", reason="needs the extra dicomweb")

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError
from medimageinsight.studies.dicomweb.query import parse_query
from tests.studies.test_dicomdir import SERIES, STUDY, make_slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "token-of-the-test"
SLICES = [make_slice(number) for number in (1, 2, 3)]
SERIES_PATH = f"/studies/{STUDY}/series/{SERIES}"


def encode(dataset: Any) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def header_of(dataset: Any) -> dict[str, Any]:
    item: dict[str, Any] = dataset.to_json_dict()
    item.pop("7FE00010")
    return item


class Pacs(ThreadingHTTPServer):
    """A DICOMweb server with one series of three slices; `answers` replaces what it sends for a path."""

    daemon_threads = True  # connections that clients leave open

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[Handler], None]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web"

    def open(self, **options: Any) -> studies.DicomWeb:
        return studies.DicomWeb(self.url, **{"wait_s": 0.0, "timeout_s": 20, "token": TOKEN} | options)

    def instance(self, number: int) -> str:
        return f"{SERIES_PATH}/instances/{SLICES[number].SOPInstanceUID}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    server: Pacs
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix("/dicom-web").partition("?")
        self.server.requests.append((self.path, self.headers["Authorization"]))
        if path in self.server.answers:
            self.server.answers[path](self)
        elif path == "/studies":
            offset = int((re.search(r"offset=(\d+)", query) or [0, 0])[1])
            self.send_json([{"0020000D": {"vr": "UI", "Value": [STUDY]}}][offset:])
        elif path.endswith("/series"):
            count = {"vr": "IS", "Value": [3]}
            self.send_json(
                [{"0020000E": {"Value": [SERIES]}, "00080060": {"vr": "CS", "Value": ["CT"]}, "00201209": count}]
            )
        elif path == f"{SERIES_PATH}/metadata":
            self.send_json([header_of(dataset) for dataset in SLICES])
        else:
            found = [dataset for dataset in SLICES if path.endswith(str(dataset.SOPInstanceUID))]
            self.send(multipart(*map(encode, found)), 'multipart/related; type="application/dicom"; boundary=x')

    def send_json(self, content: object) -> None:
        self.send(json.dumps(content).encode(), "application/dicom+json")

    def send(self, body: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with Pacs() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stopped.set()
        server.shutdown()
        thread.join()


def status(number: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send(b"patient DOE^JOHN", "text/plain", number, headers)


def read(server: studies.DicomWeb) -> tuple[list[int], dict[str, str]]:
    """Return the positions of the slices that can be decoded, and the codes of errors by the end of their names."""
    failed: dict[str, str] = {}
    good = []
    for study in studies.read(
        server.study(STUDY), select="all", failed=lambda name, error: failed.update({name: error.code})
    ):
        for image in study.selected():
            try:
                images.open(image)
                good.append(int(getattr(image, "position_mm", 0) or 0))
            except ImageError as error:
                failed[str(image.origin)] = error.code + " DOE" * ("DOE" in error.message)
    server.close()
    return good, {name.rpartition("/")[2]: code for name, code in failed.items()}


def test_a_study_is_found_and_its_slices_are_transferred_when_they_are_decoded(pacs: Pacs) -> None:
    server = pacs.open()
    (found,) = server.search("Modality=CT,StudyDate=20240101-")
    (study,) = studies.read(found, select="centre:0")
    assert not [path for path, _ in pacs.requests if "/instances/" in path]
    assert [image.position_mm for image in study.series[0].images] == [1, 2, 3]
    (image,) = study.selected()
    images.open(image)
    assert [path for path, _ in pacs.requests if "/instances/" in path] == [f"/dicom-web{pacs.instance(1)}"]
    assert "ModalitiesInStudy=CT" in pacs.requests[0][0] or "00080061=CT" in pacs.requests[0][0]
    assert {header for _, header in pacs.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in repr(server) + repr(found)
    again = studies.open_image(str(image.origin), dicomweb=server)
    assert (images.load(again) == images.load(image)).all()
    server.close()


def test_an_image_is_not_fetched_from_a_server_that_was_not_named(pacs: Pacs) -> None:
    origin = f"{pacs.url}{pacs.instance(0)}"
    with pytest.raises(ImageError) as raised:
        studies.open_image(origin)
    assert raised.value.code == "dicomweb_not_named"
    other = studies.DicomWeb("http://127.0.0.1:9/dicom-web")
    for url in (
        origin,
        f"{other.url}/studies/1/series/../instances/3",
        f"{other.url}.evil/studies/1/series/2/instances/3",
    ):
        with pytest.raises(ImageError) as raised:
            other.open_instance(url)
        assert raised.value.code == "dicomweb_not_named"
    other.close()
    assert not pacs.requests


@pytest.mark.parametrize(
    ("number", "code"),
    [(401, "unauthorized"), (403, "forbidden"), (404, "not_found"), (429, "rate_limited"), (503, "unavailable"),
     (500, "unavailable"), (400, "failed")],
)  # fmt: skip
def test_each_status_has_its_own_error_and_the_rest_is_read(pacs: Pacs, number: int, code: str) -> None:
    pacs.answers[pacs.instance(1)] = status(number)
    good, failed = read(pacs.open(attempts=3))
    assert good == [1, 3]
    assert list(failed.values()) == [f"dicomweb_{code}"]
    tried = sum(path.endswith(pacs.instance(1)) for path, _ in pacs.requests)
    assert tried == (3 if number == 429 or number >= 500 else 1)


def test_a_failure_that_passes_is_repeated_after_the_wait_that_the_server_asks_for(pacs: Pacs) -> None:
    waits: list[float] = []
    answers = iter([status(503, **{"Retry-After": "7"}), status(429), lambda handler: handler.send_json([])])
    pacs.answers["/studies"] = lambda handler: next(answers)(handler)  # noqa: PLW0108 - the next one each time
    server = pacs.open(wait_s=0.5, attempts=3)
    server._client._session._sleep = waits.append
    assert server.search("PatientID=1") == []
    assert waits == [7, 1]
    server.close()


def test_lies_of_a_server_have_their_own_errors_and_the_rest_is_read(pacs: Pacs) -> None:
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    lies: dict[str, Callable[[Handler], None]] = {
        "dicomweb_wrong_instance": lambda handler: handler.send(multipart(encode(SLICES[0])), kind),
        "dicomweb_response_invalid": lambda handler: handler.send(b"<html>log in</html>", "text/html"),
        "dicomweb_unreachable": lambda handler: (
            handler.send(b"--x", kind, headers={"Content-Length": "900"}) or setattr(handler, "close_connection", True)
        ),
    }
    for code, answer in lies.items():
        pacs.answers[pacs.instance(1)] = answer
        good, failed = read(pacs.open(attempts=1, timeout_s=5))
        assert (good, list(failed.values())) == ([1, 3], [code])
    for body in (b"", b"garbage", multipart(), multipart(b"no DICOM"), multipart(b"a", b"b")):
        pacs.answers[pacs.instance(1)] = lambda handler, body=body: handler.send(body, kind)
        good, failed = read(pacs.open(attempts=1))
        assert (good, list(failed.values())) == ([1, 3], ["dicomweb_response_invalid"])
    pacs.answers[pacs.instance(1)] = lambda handler: handler.send(encode(SLICES[1]), "application/dicom")
    assert read(pacs.open()) == ([1, 2, 3], {})  # without the envelope, as some servers do


def test_fewer_and_foreign_instances_are_reported_and_the_rest_is_read(pacs: Pacs) -> None:
    foreign = header_of(SLICES[2]) | {"0020000E": {"vr": "UI", "Value": ["1.2.3"]}}
    pacs.answers[f"{SERIES_PATH}/metadata"] = lambda handler: handler.send_json([header_of(SLICES[0]), foreign])
    failed: list[str] = []
    server = pacs.open()
    (study,) = studies.read(server.study(STUDY), failed=lambda _, error: failed.append(error.code))
    assert len(study.series[0].images) == 1
    assert failed == ["dicomweb_incomplete", "dicomweb_wrong_instance"]
    server.close()


@pytest.mark.parametrize(
    "body", [b"{", b"[1, 2]", b'[{"0020000D": 1}]', b'[{"0020000D": {"Value": ["../../x"]}}]', b"7"]
)
def test_malformed_results_of_a_search_are_an_error(pacs: Pacs, body: bytes) -> None:
    pacs.answers["/studies"] = lambda handler: handler.send(body, "application/dicom+json")
    server = pacs.open()
    with pytest.raises(ImageError) as raised:
        server.search("PatientID=1")
    assert raised.value.code == "dicomweb_response_invalid"
    server.close()


def test_a_server_that_repeats_its_results_ends_the_search(pacs: Pacs) -> None:
    page = [{"0020000D": {"Value": [f"1.2.{number}"]}} for number in range(100)]
    pacs.answers["/studies"] = lambda handler: handler.send_json(page)
    server = pacs.open()
    assert len(server.search("PatientID=1")) == 100
    assert len(pacs.requests) == 2
    server.close()


@pytest.mark.parametrize("slow", ["nothing", "head", "body"])
def test_a_server_that_stalls_or_sends_a_byte_at_a_time_is_left_at_the_deadline(pacs: Pacs, slow: str) -> None:
    def stall(handler: Handler) -> None:
        if slow == "body":
            handler.send(b"", "application/dicom", headers={"Content-Length": "100000"})
        elif slow == "head":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
        while not pacs.stopped.wait(0.05):
            if slow != "nothing":
                handler.wfile.write(b"a")

    pacs.answers[pacs.instance(1)] = stall
    good, failed = read(pacs.open(timeout_s=0.7))
    assert good == [1, 3]
    assert list(failed.values()) == ["dicomweb_timeout"]


def test_a_response_beyond_the_limit_is_refused_while_it_arrives(pacs: Pacs) -> None:
    def flood(handler: Handler) -> None:
        handler.send(b"", "application/dicom", headers={"Content-Length": str(1 << 40)})
        while not pacs.stopped.is_set():  # ends when the client closes the connection
            handler.wfile.write(bytes(1 << 16))

    pacs.answers[pacs.instance(1)] = flood
    good, failed = read(pacs.open(max_bytes=1 << 20))
    assert (good, list(failed.values())) == ([1, 3], ["image_too_large"])


def test_redirects_are_followed_on_the_same_host_only(pacs: Pacs) -> None:
    def redirect(location: str) -> Callable[[Handler], None]:
        return status(302, Location=location)

    pacs.answers[pacs.instance(1)] = redirect(f"/dicom-web/other{pacs.instance(1)}")
    assert read(pacs.open()) == ([1, 2, 3], {})
    for location in ("http://127.0.0.1:9/x", "https://evil.example/x", "//evil.example/x", "file:///etc/passwd"):
        pacs.answers[pacs.instance(1)] = redirect(location)
        good, failed = read(pacs.open())
        assert (good, list(failed.values())) == ([1, 3], ["dicomweb_redirect"])
    pacs.answers[pacs.instance(1)] = redirect(f"/dicom-web{pacs.instance(1)}")  # to itself, for ever
    assert list(read(pacs.open())[1].values()) == ["dicomweb_redirect"]


def test_queries_are_text_of_known_names() -> None:
    assert parse_query("Modality=CT,StudyDate=20240101-,PatientName=DOE, J*") == {
        "Modality": "CT", "StudyDate": "20240101-", "PatientName": "DOE, J*",
    }  # fmt: skip
    for text in ("", "CT", "Modality=", "Nonsense=1", "Modality=CT,Modality=MR"):
        with pytest.raises(InputError) as raised:
            parse_query(text)
        assert raised.value.code == "dicomweb_query_invalid"


@pytest.mark.parametrize(
    "url", ["", "pacs.example", "ftp://pacs.example", "https://user:pw@pacs.example", "https://pacs.example/?a=1",
            "http://pacs.example/dicom-web"],
)  # fmt: skip
def test_urls_that_are_none_or_would_reveal_the_token_are_refused(url: str) -> None:
    with pytest.raises(InputError) as raised:
        studies.DicomWeb(url, token=TOKEN)
    assert raised.value.code == "dicomweb_url_invalid"
    assert TOKEN not in raised.value.message
