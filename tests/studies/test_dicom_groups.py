"""Which files form a study, and what happens to those that do not belong, are damaged or no images."""

from __future__ import annotations

import contextlib
import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from medimageinsight import MedImageInsight, images, studies
from medimageinsight.errors import InputError
from medimageinsight.images import Limits
from medimageinsight.studies.dicom_groups import DicomGroups
from medimageinsight.studies.files import LocalFile
from tests.studies.dicom_series_files import (
    SERIES,
    STUDY,
    at,
    codes,
    levels,
    make_enhanced,
    make_slice,
    read_all,
    read_series,
    read_study,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
H264 = "1.2.840.10008.1.2.4.102"


def make_object(sop_class: str, **elements: object) -> Dataset:
    """Return an object of the study without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES + ".7"
    dataset.PatientID, dataset.Modality = "P1", "SR"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def make_slices(count: int = 5, first: int = 0, **elements: object) -> list[Dataset]:
    return [make_slice(first + index, z=index, **elements) for index in range(count)]


def test_studies_and_series_are_separated_by_uid_in_any_folder(tmp_path: Path) -> None:
    files = [
        dataset
        for study in range(2)
        for series in range(3)
        for dataset in make_slices(
            4, 10 * (3 * study + series), StudyInstanceUID=f"1.9.{study}", SeriesInstanceUID=f"1.9.{study}.{series}"
        )
    ]
    found, failed = read_all(write(files, tmp_path))
    by_key = {study.key: [levels(series) for series in study.series] for study in found}
    assert by_key == {
        f"1.9.{study}": [[10 * (3 * study + series) + i for i in range(4)] for series in range(3)] for study in range(2)
    }
    assert not failed


def test_two_patients_of_one_study_uid_are_never_mixed(tmp_path: Path) -> None:
    files = [*make_slices(PatientID="one"), *make_slices(first=50, PatientID="two")]
    found, _ = read_all(write(files, tmp_path))
    assert sorted(levels(study.series[0])[0] for study in found) == [0, 50]
    assert {warning.code for study in found for warning in study.warnings} == {"study_of_several_patients"}
    assert len({study.key for study in found}) == 2


def test_files_without_patient_belong_to_the_only_patient(tmp_path: Path) -> None:
    files = make_slices(6)
    del files[0].PatientID
    files[1].PatientID = ""
    assert levels(read_series(write(files, tmp_path))) == list(range(6))


def test_files_without_any_uid_are_studies_of_their_own(tmp_path: Path) -> None:
    files = make_slices(3)
    for dataset in files:
        del dataset.StudyInstanceUID, dataset.SeriesInstanceUID
    found, _ = read_all(write(files, tmp_path))
    assert len(found) == 3
    assert all("uid_missing" in codes(study.series[0]) for study in found)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_one_missing_uid_leaves_a_series_whole(tmp_path: Path, keyword: str) -> None:
    files = make_slices(4)
    for dataset in files:
        delattr(dataset, keyword)
    series = read_series(write(files, tmp_path))
    assert (levels(series), codes(series)) == ([0, 1, 2, 3], ["uid_missing"])


def test_other_objects_are_reported_once_for_each_kind(tmp_path: Path) -> None:
    others = [make_object(REPORT), make_object(REPORT), make_object(PRESENTATION_STATE, Modality="PR")]
    segmentation = make_slice(1, z=0, SOPClassUID=SEGMENTATION, Modality="SEG")
    study = read_study(write([*make_slices(), *others, segmentation], tmp_path))
    assert [warning.code for warning in study.warnings] == ["not_an_image"] * 3
    assert any("2 of the kind 'Basic Text SR Storage'" in warning.message for warning in study.warnings)
    assert not study.failed
    assert levels(study.series[0]) == list(range(5))


def test_a_study_without_images_is_an_error_for_each_kind(tmp_path: Path) -> None:
    found, failed = read_all(
        write([make_object(REPORT), make_object(REPORT), make_object(PRESENTATION_STATE)], tmp_path)
    )
    assert not found
    assert [error.code for error in failed.values()] == ["image_no_pixels"] * 2


def test_a_dicomdir_in_a_folder_is_no_image_of_it(tmp_path: Path) -> None:
    directory = make_object("1.2.840.10008.1.3.10")
    del directory.StudyInstanceUID, directory.SeriesInstanceUID
    folder = write(make_slices(), tmp_path)
    directory.save_as(folder / "index.dcm", enforce_file_format=True)
    found, failed = read_all(folder)
    assert len(found) == 1
    assert not failed


def _cut_pixels(data: bytes) -> bytes:
    return data[:-40]


def _cut_header(data: bytes) -> bytes:
    return data[:180]


@pytest.mark.parametrize("damage", [_cut_pixels, _cut_header])
def test_a_damaged_file_is_an_error_of_its_study_and_the_rest_is_used(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    for index, dataset in enumerate(make_slices(8)):
        dataset.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    damaged = tmp_path / "3.dcm"
    damaged.write_bytes(damage(damaged.read_bytes()))
    found, failed = read_all(tmp_path)
    (study,) = found
    assert not failed
    assert list(study.failed) == [str(damaged)]
    assert study.failed[str(damaged)].code in ("image_truncated", "image_bad_header")
    (series,) = study.series
    assert levels(series) == [0, 1, 2, 4, 5, 6, 7]
    assert codes(series) == ["slices_missing"]


def test_a_damaged_file_of_no_study_is_given_to_the_callback_or_raised(tmp_path: Path) -> None:
    for number, uid in enumerate(("1.5.1", "1.5.2")):
        make_slice(1, z=0, StudyInstanceUID=uid).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes((tmp_path / "0.dcm").read_bytes()[:180])
    found, failed = read_all(tmp_path)
    assert len(found) == 2
    assert list(failed) == [str(damaged)]
    with pytest.raises(InputError) as caught:
        list(studies.read(damaged))
    assert caught.value.code == "image_truncated"
    assert str(tmp_path) not in caught.value.message


def test_copies_of_an_instance_are_used_once(tmp_path: Path) -> None:
    files = make_slices(6)
    for name in "ab":
        write(files[: 6 if name == "a" else 4], tmp_path / name)
    series = read_series(tmp_path)
    assert (levels(series), codes(series)) == ([0, 1, 2, 3, 4, 5], ["instances_repeated"])


def test_different_images_with_one_instance_uid_are_all_used(tmp_path: Path) -> None:
    series = read_series(write(make_slices(6, SOPInstanceUID="1.2.3.4"), tmp_path))
    assert (levels(series), codes(series)) == ([0, 1, 2, 3, 4, 5], ["instance_uids_shared"])


def test_a_video_is_an_error_with_its_own_code(tmp_path: Path) -> None:
    video = make_slice(1, z=0, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.1.1", Modality="ES")
    video.file_meta.TransferSyntaxUID = pydicom.uid.UID(H264)
    video.PixelData = pydicom.encaps.encapsulate([b"\0\0\0\1video."])
    video["PixelData"].VR = "OB"
    folder = write([*make_slices(), video], tmp_path)
    study = read_study(folder)
    assert [error.code for error in study.failed.values()] == ["image_is_video"]
    assert len(study.series[0].images) == 5


def test_compressed_and_deflated_files_and_datasets_without_preamble_belong_too(tmp_path: Path) -> None:
    files = make_slices(5)
    files[1].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    for index, dataset in enumerate(files):
        dataset.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    whole = (tmp_path / "2.dcm").read_bytes()
    (tmp_path / "2.dcm").write_bytes(whole[132:])
    (tmp_path / "3.dcm").write_bytes(gzip.compress((tmp_path / "3.dcm").read_bytes()))
    assert levels(read_series(tmp_path)) == [0, 1, 2, 3, 4]


def test_dataset_objects_are_grouped_as_a_folder_is() -> None:
    files = make_slices(5)
    assert levels(read_series(files[::-1])) == [0, 1, 2, 3, 4]
    assert levels(read_series(files[0])) == [0]
    found, _ = read_all([files[:2], files[2:]])
    assert [levels(study.series[0]) for study in found] == [[0, 1], [2, 3, 4]]
    assert read_series(files).header() is files[0]
    assert MedImageInsight.load().embed_images(read_study(files)).shape == (256,)


def test_only_the_header_is_read_until_an_image_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    monkeypatch.setattr(LocalFile, "read", lambda file, _: reads.append(file.name) or Path(file.path).read_bytes())
    series = read_series(write(make_slices(6), tmp_path))
    assert reads == []
    images.load(series.images[0])
    assert reads == [series.images[0].origin.path]


def test_the_header_has_all_elements_but_no_pixels(tmp_path: Path) -> None:
    series = read_series(write(make_slices(3, PatientName="X^Y"), tmp_path))
    header = series.header()
    assert header is not None
    assert (header.PatientID, str(header.PatientName), header.InstanceNumber) == ("P1", "X^Y", 0)
    assert "PixelData" not in header


def test_records_of_yielded_studies_are_forgotten(tmp_path: Path) -> None:
    files = [make_slice(1, z=0, StudyInstanceUID=f"1.5.{number}") for number in range(20)]
    groups = DicomGroups(str(tmp_path), Limits())
    for path in sorted(write(files, tmp_path).rglob("*")):
        if path.is_file():
            groups.add(LocalFile(str(path)))
    found = groups.studies(lambda _, error: pytest.fail(error.message))
    for number in range(19, -1, -1):
        next(found)
        assert len(groups._groups) == number


def test_folders_from_a_generator_are_read_when_they_are_needed(tmp_path: Path) -> None:
    made = []

    def folders():
        for number in range(40):
            made.append(number)
            yield write(make_slices(2, 2 * number, StudyInstanceUID=f"1.5.{number}"), tmp_path / str(number))

    model = MedImageInsight.load()
    for number, result in enumerate(model.stream_images(studies.read(folders()))):
        assert result.error is None
        assert np.isclose(np.linalg.norm(result.embedding), 1)
        if number == 0:
            assert len(made) < 40
    assert number == 39


@pytest.mark.parametrize("name", ["badVR.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_single_files_without_an_image_are_errors(name: str) -> None:
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    with pytest.raises(InputError) as caught:
        list(studies.read(path))
    assert caught.value.code in ("image_no_pixels", "image_is_map")


@given(st.data())
def test_no_damage_of_a_file_raises_anything_but_errors_of_the_package(data: st.DataObject) -> None:
    dataset = make_enhanced([1, 2, 3], [at(z, DimensionIndexValues=[1, z + 1], StackID="1") for z in range(3)])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    whole = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(132, len(whole) - 20))
        damage = data.draw(st.sampled_from([b"", b"\xff\xff\xff\xff", b"nan", b"-1\\9", b"\x80", b"1e999"]))
        whole[start : start + data.draw(st.integers(1, 6))] = damage
    failed: list[InputError] = []
    for study in studies.read(bytes(whole), failed=lambda _, error: failed.append(error)):
        for series in study.series:
            with contextlib.suppress(InputError):
                images.load(series.selected()[0])
