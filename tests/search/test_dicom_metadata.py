"""Metadata columns of DICOM files."""

from __future__ import annotations

import numpy as np
import pytest

from medimageinsight import search
from medimageinsight.errors import InputError
from tests.images.dicom_datasets import PACKAGED, make_dataset, to_file_bytes

FULL = {
    "Modality": "DX",
    "BodyPartExamined": "CHEST ",
    "ViewPosition": "AP",
    "Laterality": "L",
    "PatientSex": "F",
    "PatientAge": "045Y",
    "Manufacturer": "Müller & O'Hara",
    "PatientID": "12345",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700101",
    "StudyDate": "20200101",
    "AccessionNumber": "A1",
    "StudyInstanceUID": "1.2.3",
    "SpecificCharacterSet": "ISO_IR 192",
}


@pytest.fixture
def dicom(tmp_path):
    def write(**elements):
        file = tmp_path / "scan.dcm"
        file.write_bytes(to_file_bytes(make_dataset(np.zeros((4, 4), np.uint8), **elements)))
        return file

    return write


def test_reads_image_elements_and_no_patient_identity(dicom):
    assert search.read_dicom_metadata(dicom(**FULL)) == {
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "AP",
        "Laterality": "L",
        "PatientSex": "F",
        "PatientAge": 45.0,
        "Manufacturer": "Müller & O'Hara",
    }


@pytest.mark.parametrize(("age", "years"), [("018M", 1.5), ("026W", 0.5), ("000D", 0.0), ("101Y", 101.0)])
def test_age_is_in_years(dicom, age, years):
    assert search.read_dicom_metadata(dicom(PatientAge=age)) == {"PatientAge": years}


def test_patient_id_is_hashed_or_plain(dicom):
    file = dicom(PatientID="12345")
    hashed = search.read_dicom_metadata(file, patient="hashed", salt=b"a")["PatientID"]
    assert len(hashed) == 32
    assert "12345" not in hashed
    assert search.read_dicom_metadata(file, patient="hashed", salt=b"a") == {"PatientID": hashed}
    assert search.read_dicom_metadata(file, patient="hashed", salt=b"b") != {"PatientID": hashed}
    assert search.read_dicom_metadata(dicom(PatientID="12346"), patient="hashed", salt=b"a") != {"PatientID": hashed}
    assert search.read_dicom_metadata(dicom(PatientID="12345"), patient="plain") == {"PatientID": "12345"}
    assert search.read_dicom_metadata(dicom(), patient="hashed", salt=b"a") == {}


def test_image_laterality_takes_precedence_over_the_series(dicom):
    assert search.read_dicom_metadata(dicom(Laterality="R", ImageLaterality="L"))["Laterality"] == "L"


def test_other_and_damaged_files_have_no_metadata(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    assert search.read_dicom_metadata(tmp_path / "a.png") == {}
    assert search.read_dicom_metadata(tmp_path / "b.dcm") == {}
    assert search.read_dicom_metadata(tmp_path / "missing.dcm") == {}


def test_reads_a_scanner_file():
    metadata = search.read_dicom_metadata(PACKAGED / "CT_small.dcm")
    assert metadata["Modality"] == "CT"
    assert metadata["Manufacturer"] == "GE MEDICAL SYSTEMS"
    assert "PatientID" not in metadata


def test_rejects_unknown_patient_identity_and_missing_salt(dicom):
    with pytest.raises(InputError) as caught:
        search.check_patient_identity("md5")
    assert caught.value.code == "patient_id_unknown"
    with pytest.raises(InputError) as caught:
        search.read_dicom_metadata(dicom(PatientID="1"), patient="hashed")
    assert caught.value.code == "salt_missing"


def test_malformed_values_are_not_quoted_in_warnings():
    """Warnings are errors in tests; pydicom has one for many of its own test files."""
    files = sorted(PACKAGED.glob("*.dcm"))
    assert sum(bool(search.read_dicom_metadata(file)) for file in files) > 50
