"""Receiving from a PACS: allowed senders only, whole files only, bounded, and nothing lost when it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pynetdicom = pytest.importorskip("pynetdicom", reason="needs the extra dicomweb")

from pydicom.uid import BasicTextSRStorage, CTImageStorage, generate_uid
from pynetdicom.sop_class import Verification

from medimageinsight import MedImageInsight, search, studies
from medimageinsight.errors import ConfigError
from tests.studies.test_dicomdir import make_slice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDER = "PACS"


@contextlib.contextmanager
def associate(port: int, *, calling: str = SENDER, called: str = "MI2", **options: Any) -> Iterator[Any]:
    entity = pynetdicom.AE(ae_title=calling)
    for context in (Verification, CTImageStorage, BasicTextSRStorage):
        entity.add_requested_context(context)
    association = entity.associate("127.0.0.1", port, ae_title=called, **options)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def open_receiver(folder: Path, **options: Any) -> studies.Receiver:
    settings = {"port": 0, "quiet_s": 0, "calling": frozenset({SENDER})} | options
    return studies.Receiver(studies.ReceiverSettings(spool=folder / "spool", **settings))


def spooled(folder: Path) -> list[Path]:
    return sorted((folder / "spool").rglob("*.dcm"))


def test_images_of_an_allowed_sender_are_a_series_of_whole_files(tmp_path: Path) -> None:
    with open_receiver(tmp_path) as receiver:
        with associate(receiver.port) as association:
            assert association.send_c_echo().Status == 0
            sent = [make_slice(number) for number in (1, 2, 3)]
            assert {association.send_c_store(dataset).Status for dataset in sent} == {0}
            assert association.send_c_store(sent[0]).Status == 0  # again: it replaces itself
        received = receiver.wait(timeout_s=5)
        assert received is not None
        (study,) = studies.read(received.folder, select="all")
        assert [image.position_mm for image in study.series[0].images] == [1, 2, 3]
        names = " ".join(str(path) for path in (tmp_path / "spool").rglob("*"))
        assert str(sent[0].SOPInstanceUID) not in names
        assert str(sent[0].SeriesInstanceUID) not in names
        receiver.finish(received)
        assert not spooled(tmp_path)
        assert receiver.wait(timeout_s=0) is None


@pytest.mark.parametrize("titles", [{"calling": "OTHER"}, {"called": "OTHER"}])
def test_other_titles_are_rejected(titles: dict[str, str], tmp_path: Path) -> None:
    with open_receiver(tmp_path) as receiver, associate(receiver.port, **titles) as association:
        assert association.is_rejected


def test_reports_and_other_objects_are_not_negotiated(tmp_path: Path) -> None:
    with open_receiver(tmp_path) as receiver, associate(receiver.port) as association:
        assert [context.abstract_syntax for context in association.rejected_contexts] == [BasicTextSRStorage]


def test_what_cannot_be_used_has_a_status_and_leaves_nothing(tmp_path: Path) -> None:
    with open_receiver(tmp_path, max_spool_bytes=1500) as receiver, associate(receiver.port) as association:
        without_series = make_slice(1)
        del without_series.SeriesInstanceUID
        assert association.send_c_store(without_series).Status == 0xC000
        assert association.send_c_store(make_slice(1)).Status == 0
        assert association.send_c_store(make_slice(2)).Status == 0xA700  # out of resources
        received = receiver.wait(timeout_s=5)
        assert received is not None
        receiver.finish(received)
        assert association.send_c_store(make_slice(2)).Status == 0  # there is space again


def test_a_message_beyond_the_limit_ends_its_association(tmp_path: Path) -> None:
    large = make_slice(1)
    large.Rows, large.Columns, large.PixelData = 1000, 1000, bytes(1_000_000)
    with open_receiver(tmp_path, max_instance_bytes=100_000) as receiver, associate(receiver.port) as association:
        assert "Status" not in association.send_c_store(large)
        assert not spooled(tmp_path)


def test_associations_beyond_the_limit_are_rejected(tmp_path: Path) -> None:
    with open_receiver(tmp_path, max_associations=1) as receiver, associate(receiver.port) as first:
        assert first.is_established
        with associate(receiver.port) as second:
            assert not second.is_established


def test_files_of_an_earlier_process_are_returned_and_parts_removed(tmp_path: Path) -> None:
    with open_receiver(tmp_path) as receiver, associate(receiver.port) as association:
        association.send_c_store(make_slice(1))
    (spooled(tmp_path)[0].parent / "x.part").write_bytes(b"half")
    with open_receiver(tmp_path) as receiver:
        received = receiver.wait(timeout_s=5)
        assert received is not None
        assert len(received.files) == 1
        assert not list((tmp_path / "spool").rglob("*.part"))
        receiver.finish(received, retain=True)
    with open_receiver(tmp_path) as receiver:  # it was indexed, and remains
        assert receiver.wait(timeout_s=0) is None
        assert len(spooled(tmp_path)) == 1


def test_settings_are_checked(tmp_path: Path) -> None:
    for options, code in (({"calling": frozenset()}, "ae_titles_missing"), ({"title": "A" * 17}, "ae_title_invalid")):
        with pytest.raises(ConfigError) as raised:
            open_receiver(tmp_path, **options)
        assert raised.value.code == code
    with open_receiver(tmp_path) as receiver, pytest.raises(ConfigError) as raised:
        open_receiver(tmp_path / "other", port=receiver.port)
    assert raised.value.code == "address_not_available"


def test_the_verb_adds_what_arrives_and_ends_cleanly_on_sigterm(tmp_path: Path, toy_bundle: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra search")
    command = [
        sys.executable, "-m", "medimageinsight", "listen", str(tmp_path / "store"), "--calling", SENDER, "--port", "0",
        "--spool", str(tmp_path / "spool"), "--quiet-seconds", "600", "--level", "image,series", "--model",
        str(toy_bundle), "--dicom-tags", "--patient-id", "hashed",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}) as process:
        assert process.stderr is not None
        started = process.stderr.readline()
        with associate(int(started.split(":")[1].split()[0])) as association:
            for number in (1, 2, 3):
                dataset = make_slice(number)
                assert association.send_c_store(dataset).Status == 0
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(60) == 0, rest
    for secret in ("A^B", "P1", str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)):
        assert secret not in started + rest
    assert not spooled(tmp_path)
    with search.open_store(str(tmp_path / "store")) as store:
        assert store.count() == 4  # three images and their series
        hits = search.search(MedImageInsight.load(str(toy_bundle)), store, text="ct", k=4)
    metadata = [hit.metadata for hit in hits]
    assert {row["Modality"] for row in metadata} == {"CT"}
    assert "P1" not in str(metadata)
    assert generate_uid().rpartition(".")[0] not in str(metadata)
