"""Patients of DICOM files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.filereader import dcmread

from medimageinsight.datasets import Sample, patient_ids, read_patient, with_dicom_patients

if TYPE_CHECKING:
    from pathlib import Path


def write_dicom(path: Path, patient: str) -> Path:
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientID = patient
    dataset.save_as(path)
    return path


def test_patient_is_a_hash_that_distinguishes_patients(tmp_path: Path) -> None:
    files = [write_dicom(tmp_path / f"{n}.dcm", patient) for n, patient in enumerate(("A17", "A17", "B2"))]
    first, again, other = map(read_patient, files)
    assert first == again != other
    assert "A17" not in first


@pytest.mark.parametrize("patient", ["", "Anonymous", "0"])
def test_placeholder_is_no_patient(tmp_path: Path, patient: str) -> None:
    assert read_patient(write_dicom(tmp_path / "a.dcm", patient)) == ""


def test_table_has_precedence_and_other_files_have_no_patient(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(image)
    dicom = write_dicom(tmp_path / "a.dcm", "A17")
    samples = [
        Sample(path=image, caption="", source="x"),
        Sample(path=dicom, caption="", source="x", patient_id="p1"),
        Sample(path=dicom, caption="", source="x"),
        Sample(path=dicom, caption="", source="y"),
        Sample(path=tmp_path / "missing.dcm", caption=""),
    ]
    ids = patient_ids(with_dicom_patients(samples))
    assert ids[:2] == ["", "x/p1"]
    assert ids[2] == ids[3] != ""
    assert ids[4] == ""
