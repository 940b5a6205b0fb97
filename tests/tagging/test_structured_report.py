"""Tags as DICOM SR: read back by highdicom and by DCMTK, with the model and no claim of a diagnosis."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

highdicom = pytest.importorskip("highdicom", reason="needs the extra sr")

from medimageinsight import MedImageInsight, tagging
from medimageinsight.errors import ImageError
from tests.cli.conftest import image_files, mi2  # noqa: F401 - fixtures
from tests.studies.test_dicomdir import make_slice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

TAGS = tagging.ImageTags(
    {
        "pleural effusion": tagging.TagResult(score=0.8125, threshold=0.5, present=True),
        "Knochenbrüche " * 10: tagging.TagResult(score=0.25, threshold=0.5, present=False),
    }
)


def test_a_report_has_the_scores_the_model_and_its_limits(tmp_path: Path, toy_bundle: Path) -> None:
    model = MedImageInsight.load(str(toy_bundle))
    image = make_slice(1)
    report = tagging.make_report(TAGS, image, model.identity, frame=2, notes=["a note"])
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    read = highdicom.sr.srread(tmp_path / "report.dcm")
    assert (read.CompletionFlag, read.PreliminaryFlag, read.VerificationFlag) == (
        "PARTIAL",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert read.StudyInstanceUID == image.StudyInstanceUID
    assert read.PatientID == "P1"
    assert read.SeriesInstanceUID != image.SeriesInstanceUID
    (group,) = read.content.get_image_measurement_groups()
    assert {item.name.meaning[:16]: item.value for item in group.get_measurements()} == {
        "pleural effusion": 0.8125, "Knochenbrüche Kn": 0.25,
    }  # fmt: skip
    assert [item.name.meaning for item in group.get_qualitative_evaluations()] == ["pleural effusion"]
    text = read.to_json()
    assert "not for diagnosis or treatment" in text
    assert model.identity.name in text
    (source,) = group.source_images
    assert source.referenced_sop_instance_uid == image.SOPInstanceUID
    assert source.ReferencedSOPSequence[0].ReferencedFrameNumber == 3


def test_dcmtk_reads_a_report(tmp_path: Path, toy_bundle: Path) -> None:
    if shutil.which("dsrdump") is None:
        pytest.skip("DCMTK is not installed (apt install dcmtk)")
    model = MedImageInsight.load(str(toy_bundle))
    report = tagging.make_report(TAGS, make_slice(1), model.identity)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    dumped = subprocess.run(["dsrdump", tmp_path / "report.dcm"], capture_output=True, check=True)
    assert b"pleural effusion" in dumped.stdout
    assert b"E:" not in dumped.stderr


def test_an_image_without_a_header_has_no_report(tmp_path: Path, toy_bundle: Path) -> None:
    model = MedImageInsight.load(str(toy_bundle))
    image = make_slice(1)
    del image.StudyInstanceUID
    (tmp_path / "a.png").write_bytes(b"x")
    for source in (image, str(tmp_path / "a.png")):
        with pytest.raises(ImageError) as raised:
            tagging.make_report(TAGS, source, model.identity)
        assert raised.value.code == "report_source_invalid"


def test_the_verb_writes_reports_only_on_request(
    tmp_path: Path,
    mi2: Command,  # noqa: F811 - the fixture
    image_files: list[Path],  # noqa: F811
) -> None:
    make_slice(1).save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    words = ["tag", tmp_path / "ct.dcm", image_files[0], "--vocabulary", "modality"]
    before = sorted(tmp_path.iterdir())
    assert mi2(*words).code == 0
    assert sorted(tmp_path.iterdir()) == before
    result = mi2(*words, "--sr-folder", tmp_path / "reports")
    assert result.code == 1  # the PNG file has no header
    (report,) = (tmp_path / "reports").iterdir()
    assert report.name == "000001.dcm"
    assert highdicom.sr.srread(report).Modality == "SR"
    assert mi2(*words, "--sr-folder", tmp_path / "reports").code == 2  # not empty
