"""The order of slices, and what splits a series or is reported about it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.uid import generate_uid

from medimageinsight import MedImageInsight, images, studies
from tests.images.dicom_datasets import PACKAGED
from tests.studies.dicom_series_files import (
    CORONAL,
    MR,
    SERIES,
    codes,
    levels,
    make_dataset,
    make_slice,
    read_all,
    read_series,
    read_study,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_slices_of_shuffled_files_are_sorted_by_position_not_number_or_name(tmp_path: Path) -> None:
    slices = [make_slice(10 + index, z=2.5 * index, InstanceNumber=100 - index) for index in range(20)]
    series = read_series(write(slices, tmp_path))
    assert levels(series) == list(range(10, 30))
    assert series.kind == "slices"
    assert series.modality == "CT"
    assert [image.position_mm for image in series.images] == [2.5 * index for index in range(20)]
    assert not series.warnings


def test_positions_are_along_the_normal_of_oblique_slices(tmp_path: Path) -> None:
    cosine, sine = math.cos(0.6), math.sin(0.6)
    normal = np.array([0, -sine, cosine])  # of rows along x and columns tilted from y to z
    slices = [
        make_slice(
            10 + index,
            z=0,
            ImageOrientationPatient=[1, 0, 0, 0, round(cosine, 6), round(sine, 6)],
            ImagePositionPatient=[round(float(value), 4) for value in np.array([300.0, 9, -500]) - 3 * index * normal],
        )
        for index in range(8)
    ]
    series = read_series(write(slices, tmp_path))
    assert levels(series) == list(range(17, 9, -1))  # the positions decrease with the index
    assert series.geometry is not None
    assert series.geometry.spacing_mm == pytest.approx(3, abs=1e-3)
    assert series.geometry.is_uniform
    assert not series.warnings


def test_a_shuffled_folder_gives_the_same_vector_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    slices = [
        make_slice(index, z=index, PixelData=rng.integers(0, 255, (8, 8)).astype("<u2").tobytes()) for index in range(9)
    ]
    model = MedImageInsight.load()
    one, other = (read_study(write(slices, tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert [image.origin.path for image in one.selected()] != [image.origin.path for image in other.selected()]
    assert np.array_equal(model.embed_images(one), model.embed_images(other))
    pixels = [images.load(image) for image in one.series[0].images]
    assert np.array_equal(model.embed_images(one.series[0].images), model.embed_images(pixels))


def test_missing_slices_are_counted_by_position_not_by_thickness(tmp_path: Path) -> None:
    slices = [make_slice(index, z=2 * index, SliceThickness=5) for index in range(20) if index not in (4, 11, 12)]
    series = read_series(write(slices, tmp_path))
    assert codes(series) == ["slices_missing"]
    assert "3" in series.warnings[0].message
    assert series.geometry is not None
    assert (series.geometry.spacing_mm, series.geometry.is_uniform) == (2, False)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0, 5, 10, 15, 25.5, 36, 46.5], ["spacing_uneven"]),
        ([0, 3.33, 6.67, 10, 13.33, 16.67, 20], []),  # rounded to hundredths
        ([0, 0.4, 0.7, 1.1, 1.4, 1.8], ["spacing_uneven"]),
    ],
)
def test_uneven_spacing_is_reported(tmp_path: Path, positions: list[float], expected: list[str]) -> None:
    slices = [make_slice(index, z=position) for index, position in enumerate(positions)]
    assert codes(read_series(write(slices, tmp_path))) == expected


def test_a_tilted_gantry_is_reported(tmp_path: Path) -> None:
    slices = [
        make_slice(index, z=0, ImagePositionPatient=[-100, -100 + 1.3 * index, 5 * index], GantryDetectorTilt=0)
        for index in range(6)
    ]
    series = read_series(write(slices, tmp_path))
    assert codes(series) == ["gantry_tilt"]
    assert "14.6 degrees" in series.warnings[0].message
    assert levels(series) == list(range(6))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("TemporalPositionIdentifier", [1, 2, 3]),
        ("EchoTime", [2.3, 4.6, 6.9]),
        ("DiffusionBValue", [0.0, 500.0, 1000.0]),
        ("AcquisitionNumber", [1, 2, 3]),
        ("TriggerTime", [0, 250, 500]),
        ("ImageType", [["ORIGINAL", "PRIMARY", kind] for kind in "IMP"]),
    ],
)
def test_images_of_one_position_become_series_by_what_differs(
    tmp_path: Path, keyword: str, values: list[object]
) -> None:
    slices = [
        make_slice(20 * phase + index, z=4 * index, SOPClassUID=MR, Modality="MR", InstanceNumber=1, **{keyword: value})
        for phase, value in enumerate(values)
        for index in range(6)
    ]
    study = read_study(write(slices, tmp_path))
    assert [levels(series) for series in study.series] == [[20 * phase + i for i in range(6)] for phase in range(3)]
    assert {code for series in study.series for code in codes(series)} == {"positions_repeated"}
    assert len({series.key for series in study.series}) == 3


def test_images_of_one_position_that_only_their_number_tells_apart_alternate(tmp_path: Path) -> None:
    slices = [
        make_slice(20 * phase + index, z=4 * index, InstanceNumber=2 * index + phase)
        for phase in range(2)
        for index in range(6)
    ]
    study = read_study(write(slices, tmp_path))
    assert [levels(series) for series in study.series] == [list(range(6)), list(range(20, 26))]


def test_two_criteria_at_once_give_a_series_each(tmp_path: Path) -> None:
    slices = [
        make_slice(
            60 * echo + 20 * kind + index,
            z=index,
            EchoTime=10 * (echo + 1),
            ImageType=["ORIGINAL", "PRIMARY", "MP"[kind]],
        )
        for echo, kind, index in itertools.product(range(2), range(2), range(5))
    ]
    study = read_study(write(slices, tmp_path))
    assert [levels(series)[0] for series in study.series] == [0, 60, 20, 80]


def test_a_few_repeated_positions_stay_in_their_series(tmp_path: Path) -> None:
    slices = [make_slice(index, z=index) for index in range(12)] + [make_slice(100, z=5, AcquisitionNumber=2)]
    series = read_series(write(slices, tmp_path))
    assert levels(series) == [0, 1, 2, 3, 4, 5, 100, 6, 7, 8, 9, 10, 11]
    assert codes(series) == ["positions_repeated"]


def test_many_times_at_few_positions_stay_one_series_in_order(tmp_path: Path) -> None:
    slices = [
        make_slice(2 * time + index, z=index, TemporalPositionIdentifier=time + 1)
        for time in range(30)
        for index in range(2)
    ]
    series = read_series(write(slices, tmp_path))
    assert levels(series) == [*range(0, 60, 2), *range(1, 60, 2)]


def test_a_cine_of_one_slice_is_a_loop_in_time(tmp_path: Path) -> None:
    slices = [
        make_slice(index, z=0, SOPClassUID=MR, Modality="MR", TriggerTime=40 * index, InstanceNumber=25 - index)
        for index in range(25)
    ]
    series = read_series(write(slices, tmp_path))
    assert series.kind == "loop"
    assert levels(series) == list(range(25))
    assert [image.time_ms for image in series.images] == [40.0 * index for index in range(25)]
    assert not series.warnings


def test_localizers_are_left_out_and_reported(tmp_path: Path) -> None:
    scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    stated = make_slice(90, z=3, ImageType=scout)
    of_other_size = make_slice(91, z=3, size=(8, 16))
    of_other_orientation = make_slice(92, z=3, ImageOrientationPatient=list(CORONAL))
    own_series = make_slice(93, z=3, ImageType=scout, SeriesInstanceUID=SERIES + ".9")
    slices = [make_slice(index, z=index) for index in range(12)]
    study = read_study(write([*slices, stated, of_other_size, of_other_orientation, own_series], tmp_path))
    (series,) = study.series
    assert levels(series) == list(range(12))
    assert [warning.code for warning in study.warnings] == ["localizers_excluded"]
    assert codes(series) == ["localizers_excluded"]
    assert series.warnings[0].message.endswith("left out: 3")
    assert study.warnings[0].message.endswith("left out: 1")


def test_a_study_of_only_localizers_has_them(tmp_path: Path) -> None:
    scouts = [make_slice(index, z=index, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]) for index in range(2)]
    assert levels(read_series(write(scouts, tmp_path))) == [0, 1]


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"ImageOrientationPatient": list(CORONAL), "ImagePositionPatient": [0, 5, 0]}, "orientations_mixed"),
        ({"PixelSpacing": [0.8, 0.8]}, "spacings_mixed"),
        ({"size": (8, 12)}, "sizes_mixed"),
    ],
)
def test_series_of_several_geometries_are_split(tmp_path: Path, elements: dict[str, object], code: str) -> None:
    first = [make_slice(index, z=index) for index in range(6)]
    other = [make_slice(50 + index, z=index, **elements) for index in range(5)]
    if "ImagePositionPatient" in elements:
        for index, dataset in enumerate(other):
            dataset.ImagePositionPatient = [0, 2 * index, 0]
    study = read_study(write([*first, *other], tmp_path))
    assert sorted(len(series.images) for series in study.series) == [5, 6]
    assert all(code in codes(series) for series in study.series)


def test_radial_slices_stay_together(tmp_path: Path) -> None:
    slices = [
        make_slice(
            index,
            z=0,
            ImageOrientationPatient=[math.cos(index / 3), math.sin(index / 3), 0, 0, 0, -1],
            Modality="MR",
        )
        for index in range(9)
    ]
    series = read_series(write(slices, tmp_path))
    assert (series.kind, levels(series), codes(series)) == ("frames", list(range(9)), ["orientations_mixed"])


def test_slices_without_positions_are_sorted_by_number(tmp_path: Path) -> None:
    slices = [make_dataset(np.full((4, 4), index, np.uint16), InstanceNumber=index) for index in range(12)]
    series = read_series(write(slices, tmp_path))
    assert levels(series) == list(range(12))
    assert (series.kind, codes(series), series.geometry) == ("frames", ["positions_missing"], None)


def test_malformed_positions_do_not_end_the_study(tmp_path: Path) -> None:
    slices = [make_slice(index, z=index) for index in range(4)]
    slices[0].ImageOrientationPatient = [0, 0, 0, 0, 0, 0]
    slices[1].ImagePositionPatient = [1, 2]
    found, failed = read_all(write(slices, tmp_path))
    assert sorted(len(series.images) for series in found[0].series) == [2, 2]
    assert not failed


def test_the_window_of_the_call_reaches_each_slice(tmp_path: Path) -> None:
    slices = [make_slice(1000 + index, z=index, RescaleIntercept=-1024) for index in range(3)]
    series = read_series(write(slices, tmp_path))
    lung, bone = (images.load(series.images[0], window=window)[0, 0, 0] for window in ("lung", "bone"))
    assert lung > 200 > bone
    assert np.array_equal(series.images[1].values(), np.full((8, 8), -23.0))


def test_series_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    slices = [
        make_slice(value, z=0, SeriesNumber=number, SeriesInstanceUID=generate_uid())
        for value, number in ((1, 10), (2, 2), (3, 30))
    ]
    study = read_study(write(slices, tmp_path))
    assert [levels(series) for series in study.series] == [[2], [1], [3]]


def test_an_image_is_opened_again_from_its_origin(tmp_path: Path) -> None:
    series = read_series(write([make_slice(index, z=index) for index in range(3)], tmp_path))
    again = studies.open_image(str(series.images[2].origin))
    assert np.array_equal(images.load(again), images.load(series.images[2]))


def test_the_order_is_that_of_an_independent_reader(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    for seed, orientation in enumerate(([0.8, 0.6, 0, 0, 0, -1], [0, 1, 0, 0.28, 0, -0.96], [1, 0, 0, 0, 0.6, 0.8])):
        normal = np.cross(orientation[:3], orientation[3:])
        slices = [
            make_slice(
                index,
                z=0,
                ImageOrientationPatient=list(orientation),
                ImagePositionPatient=[round(float(value), 3) for value in 40 + 3.5 * index * normal],
                InstanceNumber=(7 * index) % 11,
            )
            for index in range(11)
        ]
        folder = tmp_path / str(seed)
        folder.mkdir()
        for number, dataset in enumerate(slices):
            dataset.save_as(folder / f"{(5 * number) % 11}.dcm", enforce_file_format=True)
        series = read_series(folder)
        assert [image.origin.path for image in series.images] == list(
            sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        )


@pytest.mark.parametrize("folder", ["77654033", "98892001", "98892003"])
def test_series_of_scanners_are_those_of_an_independent_reader(folder: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    source = PACKAGED / "dicomdirtests" / folder
    for parent in sorted(path for path in source.iterdir() if path.is_dir()):
        ours = {
            tuple(image.origin.path for image in series.images)
            for study in studies.read(parent)
            for series in study.series
            if series.kind == "slices"
        }
        theirs = {
            tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(parent), uid))
            for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(parent))
        }
        assert ours <= theirs
