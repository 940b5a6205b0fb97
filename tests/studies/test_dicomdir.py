"""Media with a DICOMDIR: its files are read, missing ones reported, and programs next to them left out."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medimageinsight import images, studies

if TYPE_CHECKING:
    from pathlib import Path

SERIES = generate_uid()
STUDY = generate_uid()


def make_slice(number: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientID, dataset.PatientName, dataset.StudyID = "P1", "A^B", "1"
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20240101", "101010", "7"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 5, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = np.full((4, 5), number, dtype=np.uint8).tobytes()
    dataset["PixelData"].VR = "OB"
    return dataset


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Return a folder as of a CD: three slices, a DICOMDIR and a viewer."""
    file_set = FileSet()
    for number in (3, 1, 2):
        file_set.add(make_slice(number))
    file_set.write(tmp_path / "cd")
    file_set._stage["t"].cleanup()  # pydicom leaves it to the garbage collector
    (tmp_path / "cd" / "VIEWER.EXE").write_bytes(b"MZ")
    (tmp_path / "cd" / "AUTORUN.INF").write_text("[autorun]")
    return tmp_path / "cd"


def read(source: Path, select: str = "all") -> tuple[list[studies.Study], dict[str, str]]:
    failed: dict[str, str] = {}
    found = studies.read(source, select=select, failed=lambda name, error: failed.update({name: error.code}))
    return list(found), failed


def positions(study: studies.Study) -> list[int]:
    return [int(image.position_mm or 0) for image in study.series[0].images]


@pytest.mark.parametrize("given", ["folder", "DICOMDIR", "parent", "archive"])
def test_the_files_of_a_medium_are_one_series_without_its_programs(given: str, medium: Path) -> None:
    source = {"folder": medium, "DICOMDIR": medium / "DICOMDIR", "parent": medium.parent}.get(given)
    if source is None:
        source = medium.parent / "cd.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in sorted(medium.rglob("*")):
                archive.write(file, f"export/{file.relative_to(medium)}")
    found, failed = read(source)
    assert not failed
    assert [positions(study) for study in found] == [[1, 2, 3]]


def test_missing_files_are_reported_and_the_others_read(medium: Path) -> None:
    slices = [file for file in medium.rglob("*") if file.is_file() and file.suffix == "" and file.name != "DICOMDIR"]
    min(slices).unlink()
    for source in (medium, medium / "DICOMDIR"):
        found, failed = read(source)
        assert [len(positions(study)) for study in found] == [2]
        assert failed == {str(medium / "DICOMDIR"): "dicomdir_file_missing"}


def test_names_match_in_lower_case_as_some_systems_copy_them(medium: Path) -> None:
    for file in sorted(medium.rglob("*"), key=lambda path: -len(path.parts)):
        file.rename(file.with_name(file.name.lower()))
    found, failed = read(medium)
    assert not failed
    assert [positions(study) for study in found] == [[1, 2, 3]]


def test_images_that_the_directory_does_not_list_are_read_from_a_folder_only(medium: Path) -> None:
    make_slice(4).save_as(medium / "more.dcm", enforce_file_format=True)
    assert [positions(study) for study in read(medium)[0]] == [[1, 2, 3, 4]]
    assert [positions(study) for study in read(medium / "DICOMDIR")[0]] == [[1, 2, 3]]


def test_file_ids_cannot_lead_out_of_the_folder(medium: Path) -> None:
    make_slice(9).save_as(medium.parent / "secret", enforce_file_format=True)
    directory = pydicom.dcmread(medium / "DICOMDIR")
    escapes = iter([["..", "secret"], str(medium.parent / "secret"), [".", "..", "secret"]])
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            with pydicom.config.disable_value_validation():
                record.ReferencedFileID = next(escapes)
    directory.save_as(medium / "DICOMDIR")
    found, failed = read(medium / "DICOMDIR")
    assert not found
    assert failed == {str(medium / "DICOMDIR"): "dicomdir_file_missing"}


def test_a_damaged_directory_is_reported_and_its_folder_read(medium: Path) -> None:
    data = (medium / "DICOMDIR").read_bytes()
    (medium / "DICOMDIR").write_bytes(data[:600])
    found, failed = read(medium)
    assert [positions(study) for study in found] == [[1, 2, 3]]
    assert failed == {str(medium / "DICOMDIR"): "dicomdir_damaged"}


def test_an_image_of_a_medium_is_opened(medium: Path) -> None:
    (study,), _ = read(medium / "DICOMDIR")
    assert images.load(study.series[0].images[0]).shape == (4, 5, 3)
