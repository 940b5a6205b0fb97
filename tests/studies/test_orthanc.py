"""A real PACS: store, search, retrieve, embed, index and search, and receive what it sends by C-STORE."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("dicomweb_client", reason="needs the extra dicomweb")
pytest.importorskip("pynetdicom", reason="needs the extra dicomweb")

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass

from medimageinsight import MedImageInsight, images, studies
from medimageinsight.errors import ImageError
from tests.cli.conftest import mi2  # noqa: F401 - a fixture
from tests.studies.orthanc_server import PASSWORD, TITLE, USER, Orthanc, run_orthanc
from tests.studies.test_dicomdir import STUDY, make_slice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command

SLICES = 5
TOKEN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one series, whose slices differ."""
    folder = tmp_path_factory.mktemp("series")
    for number in range(1, SLICES + 1):
        dataset = make_slice(number)
        dataset.Rows = dataset.Columns = 24
        noise = np.random.default_rng(number).integers(0, 256, (24, 24), dtype=np.uint8)
        dataset.PixelData = noise.tobytes()
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture(scope="module")
def pacs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Return a PACS that has the series, stored by STOW-RS."""
    import pydicom

    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        with create_session_from_user_pass(USER, PASSWORD) as session:
            client = DICOMwebClient(f"{orthanc.url}/dicom-web", session=session)
            client.store_instances([pydicom.dcmread(file) for file in sorted(files.iterdir())])
        yield orthanc


@pytest.fixture
def server(pacs: Orthanc) -> Iterator[studies.DicomWeb]:
    opened = studies.DicomWeb(f"{pacs.url}/dicom-web", token=TOKEN)
    yield opened
    opened.close()


@pytest.mark.parametrize("query", ["Modality=CT,StudyDate=20240101-", "PatientID=P1", "AccessionNumber=7"])
def test_a_search_finds_the_study(query: str, server: studies.DicomWeb) -> None:
    (found,) = server.search(query)
    assert str(found).endswith(f"/studies/{STUDY}")
    assert server.search("PatientID=NOBODY") == []


def test_a_study_has_the_same_images_and_vectors_as_its_files(
    server: studies.DicomWeb, files: Path, toy_bundle: Path
) -> None:
    model = MedImageInsight.load(str(toy_bundle))
    (remote,) = studies.read(server.search("Modality=CT"), select="all")
    (local,) = studies.read(files, select="all")
    assert remote.series[0].warnings == local.series[0].warnings
    assert [image.position_mm for image in remote.selected()] == [image.position_mm for image in local.selected()]
    for one, other in zip(remote.selected(), local.selected(), strict=True):
        assert (images.load(one) == images.load(other)).all()
    assert (model.embed_images(remote) == model.embed_images(local)).all()
    again = studies.open_image(str(remote.selected()[2].origin), dicomweb=server)
    assert (images.load(again) == images.load(local.selected()[2])).all()


def test_refusals_of_a_real_server_have_their_own_errors(pacs: Orthanc, server: studies.DicomWeb) -> None:
    for options, path, code in (({}, "dicom-web", "unauthorized"), ({"token": TOKEN}, "nothing", "not_found")):
        other = studies.DicomWeb(f"{pacs.url}/{path}", **options)
        with pytest.raises(ImageError) as raised:
            other.search("Modality=CT")
        assert raised.value.code == f"dicomweb_{code}"
        other.close()
    failed: list[str] = []
    assert list(studies.read(server.study("1.2.3"), failed=lambda _, error: failed.append(error.code))) == []
    assert failed == ["dicomweb_not_found"]


def test_verbs_read_studies_of_the_server(
    pacs: Orthanc,
    files: Path,
    mi2: Command,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url = f"{pacs.url}/dicom-web"
    refused = mi2("embed", "--dicomweb", url, "--query", "Modality=CT", "--json")
    assert refused.code == 1
    assert refused.json["error"]["code"] == "dicomweb_unauthorized"
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    by_file = mi2("embed", "--dicomweb", url, "--study", STUDY, "--dicomweb-token-file", tmp_path / "token",
                  "--level", "series", "--select", "all", "--json")  # fmt: skip
    monkeypatch.setenv("MI2_DICOMWEB_TOKEN", TOKEN)
    by_query = mi2(
        "embed", "--dicomweb", url, "--query", "Modality=CT", "--level", "series", "--select", "all", "--json"
    )
    local = mi2("embed", files, "--level", "series", "--select", "all", "--json")
    (one,), (two,), (three,) = by_file.json, by_query.json, local.json
    assert one["embedding"] == two["embedding"] == three["embedding"]
    assert one["source"] == f"{url}/studies/{STUDY}"
    assert TOKEN.split()[1] not in by_file.err + by_query.err + by_file.out
    assert mi2("embed", "--query", "Modality=CT").code == 2


def test_the_pacs_sends_to_a_receiver(pacs: Orthanc, files: Path, tmp_path: Path) -> None:
    settings = studies.ReceiverSettings(
        spool=tmp_path / "spool", calling=frozenset({TITLE}), port=pacs.receiver_port, quiet_s=0.5
    )
    with studies.Receiver(settings) as receiver:
        api = f"{pacs.url}/modalities/listener"
        assert requests.post(f"{api}/echo", data="{}", auth=(USER, PASSWORD), timeout=30).ok
        instances = requests.get(f"{pacs.url}/instances", auth=(USER, PASSWORD), timeout=30).json()
        sent = requests.post(f"{api}/store", data=json.dumps(instances), auth=(USER, PASSWORD), timeout=60)
        assert sent.ok, sent.text
        received = receiver.wait(timeout_s=30)
        assert received is not None
        (study,) = studies.read(received.folder, select="all")
        (local,) = studies.read(files, select="all")
        for one, other in zip(study.selected(), local.selected(), strict=True):
            assert (images.load(one) == images.load(other)).all()


def test_a_stored_study_of_the_server_is_found(
    pacs: Orthanc,
    mi2: Command,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pytest.importorskip("lancedb", reason="needs the extra search")
    monkeypatch.setenv("MI2_DICOMWEB_TOKEN", TOKEN)
    store = tmp_path / "store"
    url = f"{pacs.url}/dicom-web"
    added = mi2("index", "add", store, "--dicomweb", url, "--study", STUDY, "--level", "image,study", "--select", "all",
                "--json")  # fmt: skip
    assert added.json["added"] == SLICES + 1
    hits = mi2("search", store, "--text", "ct", "-k", "10", "--json").json["hits"]
    assert len(hits) == SLICES + 1
    assert all(hit["path"].startswith(f"{url}/studies/{STUDY}/series/") for hit in hits)
