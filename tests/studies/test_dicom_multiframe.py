"""Files with several frames: enhanced CT and MR, cine, nuclear medicine, concatenations; each is parsed once."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import JPEGBaseline8Bit

from medimageinsight import images, studies
from medimageinsight.errors import ImageError
from medimageinsight.images import dicom
from tests.studies.dicom_series_files import (
    CORONAL,
    ENHANCED_MR,
    NUCLEAR,
    ULTRASOUND,
    at,
    codes,
    item,
    levels,
    make_dataset,
    make_enhanced,
    make_slice,
    read_series,
    read_study,
    write,
)

if TYPE_CHECKING:
    from typing import Any

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"


def stack_of(values: list[int]) -> np.ndarray:
    return np.stack([np.full((8, 8), value, np.uint16) for value in values])


def test_enhanced_frames_are_sorted_by_position(tmp_path: Path) -> None:
    positions = [5, 1, 4, 0, 3, 2]
    frames = [at(2.5 * position, StackID="1", InStackPositionNumber=6 - position) for position in positions]
    series = read_series(write([make_enhanced([10 + z for z in positions], frames)], tmp_path))
    assert levels(series) == [10, 11, 12, 13, 14, 15]
    assert [image.origin.frame for image in series.images] == [3, 1, 5, 4, 2, 0]
    assert (series.kind, codes(series)) == ("slices", [])
    assert series.geometry is not None
    assert (series.geometry.spacing_mm, series.geometry.pixel_spacing) == (2.5, (0.5, 0.5))


def test_each_frame_has_the_vector_of_its_pixels(tmp_path: Path) -> None:
    series = read_series(write([make_enhanced([40, 90, 200], [at(z) for z in range(3)])], tmp_path))
    for image, value in zip(series.images, (40, 90, 200), strict=True):
        single = images.load(make_dataset(np.full((8, 8), value, np.uint16)))
        assert np.array_equal(images.load(image), single)
        assert np.array_equal(images.load(studies.open_image(str(image.origin))), single)


def test_values_and_windows_are_those_of_the_frame(tmp_path: Path) -> None:
    frames = [
        {
            **at(z),
            "PixelValueTransformationSequence": item(RescaleIntercept=-1000 * z, RescaleSlope=1, RescaleType="HU"),
        }
        for z in range(2)
    ]
    series = read_series(write([make_enhanced([1050, 1050], frames)], tmp_path))
    assert [image.values()[0, 0] for image in series.images] == [1050, 50]
    assert images.load(series.images[0], window="abdomen")[0, 0, 0] == 255
    assert images.load(series.images[1], window="abdomen")[0, 0, 0] in (127, 128)


@pytest.mark.parametrize(
    "macros",
    [
        lambda phase: {"FrameContentSequence": {"TemporalPositionIndex": phase + 1}},
        lambda phase: {"MREchoSequence": {"EffectiveEchoTime": 10.0 * (phase + 1)}},
        lambda phase: {"MRDiffusionSequence": {"DiffusionBValue": 500.0 * phase}},
        lambda phase: {"MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "A", "AB"[phase]]}},
        lambda phase: {"CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": 40.0 * phase}},
    ],
)
def test_phases_of_enhanced_files_become_series(tmp_path: Path, macros: Any) -> None:
    frames = []
    for phase in (1, 0):
        for z in range(4):
            own = at(z)
            for keyword, elements in macros(phase).items():
                macro = own.setdefault(keyword, Dataset())
                for name, value in elements.items():
                    setattr(macro, name, value)
            frames.append(own)
    values = [20, 21, 22, 23, 10, 11, 12, 13]
    study = read_study(write([make_enhanced(values, frames, ENHANCED_MR)], tmp_path))
    assert [levels(series) for series in study.series] == [values[4:], values[:4]]


def test_a_dimension_that_nothing_else_names_separates_frames(tmp_path: Path) -> None:
    frames = [at(z, DimensionIndexValues=[inversion, z + 1]) for z in range(3) for inversion in (2, 1)]
    dataset = make_enhanced([20, 10, 21, 11, 22, 12], frames, ENHANCED_MR)
    pointers = (0x00189079, 0x00200032)  # InversionTimes, ImagePositionPatient
    dataset.DimensionIndexSequence = Sequence([item(DimensionIndexPointer=Tag(pointer)) for pointer in pointers])
    study = read_study(write([dataset], tmp_path))
    assert [levels(series) for series in study.series] == [[10, 11, 12], [20, 21, 22]]


def test_stacks_of_several_orientations_become_series(tmp_path: Path) -> None:
    coronal = [
        {
            "PlanePositionSequence": item(ImagePositionPatient=[0, 3 * y, 0]),
            "PlaneOrientationSequence": item(ImageOrientationPatient=list(CORONAL)),
            "FrameContentSequence": item(StackID="2"),
        }
        for y in range(5)
    ]
    frames = [*(at(z, StackID="1") for z in range(4)), *coronal]
    study = read_study(write([make_enhanced(list(range(9)), frames)], tmp_path))
    assert [levels(series) for series in study.series] == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]


def test_frames_without_positions_are_in_the_order_of_their_dimensions(tmp_path: Path) -> None:
    frames = [{"FrameContentSequence": item(DimensionIndexValues=[1, number])} for number in (3, 1, 2)]
    dataset = make_enhanced([13, 11, 12], frames)
    dataset.DimensionIndexSequence = Sequence(
        [item(DimensionIndexPointer=Tag(0x00209056)), item(DimensionIndexPointer=Tag(0x00209057))]
    )
    assert levels(read_series(write([dataset], tmp_path))) == [11, 12, 13]


@pytest.mark.parametrize("absent", [None, 1])
def test_a_concatenation_is_one_series(tmp_path: Path, absent: int | None) -> None:
    parts = []
    for number in range(3):
        values = [3 * number + index for index in range(3)]
        part = make_enhanced(values, [at(value) for value in values])
        part.ConcatenationUID, part.InConcatenationTotalNumber = "1.2.77", 3
        part.InConcatenationNumber, part.ConcatenationFrameOffsetNumber = number + 1, 3 * number
        parts.append(part)
    series = read_series(write([part for index, part in enumerate(parts) if index != absent], tmp_path))
    assert levels(series) == [value for value in range(9) if absent is None or value // 3 != absent]
    assert codes(series) == ([] if absent is None else ["concatenation_incomplete", "slices_missing"])


@pytest.mark.parametrize(
    ("elements", "times"),
    [
        ({"FrameTime": 40.0}, [0, 40, 80, 120]),
        ({"FrameTimeVector": [0.0, 10.0, 20.0, 30.0]}, [0, 10, 30, 60]),
        ({"CineRate": 20}, [0, 50, 100, 150]),
        ({}, [None] * 4),
    ],
)
def test_ultrasound_frames_are_a_loop_with_times(
    tmp_path: Path, elements: dict[str, object], times: list[float | None]
) -> None:
    cine = make_dataset(stack_of([9, 3, 7, 5]), ULTRASOUND, "US", **elements)
    series = read_series(write([cine], tmp_path))
    assert (series.kind, levels(series)) == ("loop", [9, 3, 7, 5])
    assert [image.time_ms for image in series.images] == times


def test_stills_and_loops_of_one_series_are_separate(tmp_path: Path) -> None:
    loops = [
        make_dataset(stack_of([10 * n, 10 * n + 1]), ULTRASOUND, "US", FrameTime=40, InstanceNumber=n) for n in (5, 2)
    ]
    stills = [make_dataset(np.full((8, n), n, np.uint16), ULTRASOUND, "US", InstanceNumber=n) for n in (1, 3)]
    study = read_study(write([*loops, *stills], tmp_path))
    assert [(series.kind, levels(series)) for series in study.series] == [
        ("frames", [1, 3]),
        ("loop", [20, 21]),
        ("loop", [50, 51]),
    ]


def test_slices_of_a_nuclear_reconstruction_have_positions(tmp_path: Path) -> None:
    tomo = make_dataset(
        stack_of([12, 10, 11]),
        NUCLEAR,
        "NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        FrameIncrementPointer=Tag(0x00540080),
        SliceVector=[3, 1, 2],
        SpacingBetweenSlices=4.8,
        PixelSpacing=[4.8, 4.8],
    )
    plane = item(ImagePositionPatient=[0, 0, 100], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    tomo.DetectorInformationSequence = Sequence([plane])
    series = read_series(write([tomo], tmp_path))
    assert (series.kind, levels(series)) == ("slices", [10, 11, 12])
    assert [image.position_mm for image in series.images] == pytest.approx([100, 104.8, 109.6])


def test_a_gated_reconstruction_has_a_series_for_each_time_slot(tmp_path: Path) -> None:
    gated = make_dataset(
        stack_of([20, 21, 10, 11]),
        NUCLEAR,
        "NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"],
        TimeSlotVector=[2, 2, 1, 1],
        SliceVector=[1, 2, 1, 2],
        SpacingBetweenSlices=-4.0,
    )
    plane = item(ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    gated.DetectorInformationSequence = Sequence([plane])
    study = read_study(write([gated], tmp_path))
    assert [levels(series) for series in study.series] == [[11, 10], [21, 20]]


def test_a_dynamic_nuclear_study_is_a_loop_with_the_times_of_its_phases(tmp_path: Path) -> None:
    dynamic = make_dataset(
        stack_of([1, 2, 3, 4]),
        NUCLEAR,
        "NM",
        ImageType=["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"],
        PhaseVector=[1, 1, 2, 2],
        TimeSliceVector=[1, 2, 1, 2],
    )
    dynamic.PhaseInformationSequence = Sequence(
        [item(PhaseDelay=0, ActualFrameDuration=step, NumberOfFramesInPhase=2) for step in (1000, 5000)]
    )
    series = read_series(write([dynamic], tmp_path))
    assert (series.kind, levels(series)) == ("loop", [1, 2, 3, 4])
    assert [image.time_ms for image in series.images] == [0, 1000, 2000, 7000]


def test_views_of_a_static_nuclear_study_are_frames(tmp_path: Path) -> None:
    static = make_dataset(
        stack_of([20, 10]),
        NUCLEAR,
        "NM",
        ImageType=["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"],
        DetectorVector=[2, 1],
    )
    series = read_series(write([static], tmp_path))
    assert (series.kind, levels(series)) == ("frames", [10, 20])


def test_enhanced_files_of_one_frame_form_a_series_with_single_slices(tmp_path: Path) -> None:
    files = [make_enhanced([value], [at(value)], InstanceNumber=9 - value) for value in range(6)]
    assert levels(read_series(write([*files, make_slice(6, z=6)], tmp_path))) == list(range(7))


def test_a_file_is_parsed_once_for_all_its_frames_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = read_series(write([make_enhanced(list(range(64)), [at(z) for z in range(64)])], tmp_path))
    parsed: list[int] = []
    read, lock = dicom.read, threading.Lock()

    def counted(*arguments: Any) -> Any:
        with lock:
            parsed.append(1)
        return read(*arguments)

    monkeypatch.setattr(dicom, "read", counted)
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(images.load, series.images))
    assert [pixels[0, 0, 0] for pixels in decoded] == list(range(64))
    assert len(parsed) == 1


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    for first in (10, 30):
        make_enhanced([first, first + 1], [at(0), at(1)], StudyDescription="x" * first).save_as(
            path, enforce_file_format=True
        )
        assert levels(read_series(path)) == [first, first + 1]


def test_a_file_cut_off_after_its_header_was_read_is_an_error_of_its_images(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    make_enhanced([1, 2], [at(0), at(1)]).save_as(path, enforce_file_format=True)
    series = read_series(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError) as caught:
        images.load(series.images[0])
    assert caught.value.code == "image_truncated"


def test_the_packaged_ultrasound_loop() -> None:
    series = read_series(PACKAGED / "examples_ybr_color.dcm")
    assert (series.kind, len(series.images)) == ("loop", 30)
    assert series.images[2].time_ms == pytest.approx(66.666)
    assert np.array_equal(images.load(series.images[29]), images.load(PACKAGED / "examples_ybr_color.dcm", frame=29))


def test_an_enhanced_ct_of_a_scanner(shared: Path) -> None:
    series = read_series(shared / "data" / "samples" / "dicom" / "eCT_Supplemental.dcm")
    assert [image.origin.frame for image in series.images] == [1, 0]  # the columns run against the z axis
    assert series.geometry is not None
    assert series.geometry.spacing_mm == 10


@pytest.mark.parametrize("name", ["a", "b"])
def test_malformed_functional_groups_do_not_end_a_study(tmp_path: Path, name: str) -> None:
    broken = make_enhanced([1, 2, 3], [at(0)] if name == "a" else [{}, {}, {}])
    if name == "b":
        del broken.SharedFunctionalGroupsSequence
    study = read_study(write([broken], tmp_path))
    assert sum(len(series.images) for series in study.series) == 3


@pytest.mark.parametrize("table", [True, False])
def test_frames_of_compressed_pixels_are_found_with_and_without_a_table(tmp_path: Path, table: bool) -> None:
    loop = make_dataset(stack_of([0] * 12), ULTRASOUND, "US", FrameTime=40)
    loop.BitsAllocated, loop.BitsStored, loop.HighBit = 8, 8, 7
    loop.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    frames = []
    for value in range(10, 130, 10):
        buffer = io.BytesIO()
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(buffer, "JPEG")
        frames += [buffer.getvalue()]
    loop.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=table)
    loop["PixelData"].VR = "OB"
    assert levels(read_series(write([loop], tmp_path))) == list(range(10, 130, 10))


def test_slices_of_an_ultrasound_volume_are_sorted_in_its_space(tmp_path: Path) -> None:
    frames = [
        {
            "PlanePositionVolumeSequence": item(ImagePositionVolume=[0.0, 0.0, float(z)]),
            "PlaneOrientationVolumeSequence": item(ImageOrientationVolume=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        }
        for z in (2, 0, 1)
    ]
    volume = make_enhanced([12, 10, 11], frames, "1.2.840.10008.5.1.4.1.1.6.2", Modality="US")
    del volume.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    series = read_series(write([volume], tmp_path))
    assert (series.kind, levels(series)) == ("slices", [10, 11, 12])
