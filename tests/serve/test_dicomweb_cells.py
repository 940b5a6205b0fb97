"""Image cells that are URLs of instances on the operator's DICOMweb server, at a private address."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the serve extra")
pytest.importorskip("dicomweb_client", reason="needs the extra dicomweb")

from tests.serve.server_process import run_server
from tests.studies.test_dicomweb import SLICES, TOKEN, Pacs, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serve.server_process import Reply, ServerProcess


@pytest.fixture(scope="module")
def archive() -> Iterator[Pacs]:
    """A DICOMweb server on this machine."""
    with Pacs() as pacs:
        thread = threading.Thread(target=pacs.serve_forever)
        thread.start()
        yield pacs
        pacs.stopped.set()
        pacs.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def hospital_server(
    archive: Pacs, toy_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("hospital")
    (folder / "token").write_text(TOKEN + "\n")
    options = ("--dicomweb", archive.url, "--dicomweb-token-file", str(folder / "token"))
    with run_server(folder, "--model", str(toy_bundle), *options) as server:
        yield server


def score(server: ServerProcess, cell: str) -> Reply:
    return server.post("/score", {"input_data": {"columns": ["image"], "data": [[cell]]}})


def code_of(reply: Reply) -> Any:
    return reply.json["error"]["code"]


def test_an_instance_of_the_named_server_is_embedded(archive: Pacs, hospital_server: ServerProcess) -> None:
    import base64

    named = score(hospital_server, archive.url + archive.instance(1))
    sent = score(hospital_server, base64.b64encode(encode(SLICES[1])).decode())
    assert named.status == 200, named.json
    assert named.json == sent.json
    assert archive.requests[-1][1] == f"Bearer {TOKEN}"
    assert TOKEN not in hospital_server.log
    assert archive.instance(1) not in hospital_server.log


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/studies/1.2/series/1.2/instances/../../../../../admin", "dicomweb_not_named"),
        ("/instances", "dicomweb_not_named"),
        ("/studies/1.2/series/1.2/instances/1.2.9", "dicomweb_response_invalid"),
    ],
)
def test_nothing_but_instances_is_requested(
    archive: Pacs, hospital_server: ServerProcess, path: str, code: str
) -> None:
    before = len(archive.requests)
    assert code_of(score(hospital_server, archive.url + path)) == code
    assert len(archive.requests) - before == (code == "dicomweb_response_invalid")


def test_another_service_of_the_same_machine_is_refused(archive: Pacs, hospital_server: ServerProcess) -> None:
    before = len(archive.requests)
    other = archive.url.removesuffix("/dicom-web") + "/secrets" + archive.instance(1)
    assert code_of(score(hospital_server, other)) == "image_url_refused"
    assert code_of(score(hospital_server, archive.url + "x" + archive.instance(1))) == "image_url_refused"
    assert len(archive.requests) == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--dicomweb", "file:///etc"), "http"),
        (("--dicomweb", "https://pacs.example/x", "--dicomweb-token-file", "nowhere"), "a token"),
    ],
)
def test_an_invalid_server_or_token_ends_the_start(
    toy_bundle: Path, tmp_path: Path, options: tuple[str, ...], code: str
) -> None:
    with run_server(tmp_path, "--model", str(toy_bundle), *options, ready=False) as server:
        assert server.process.wait(60) == 2
        assert code in server.log
