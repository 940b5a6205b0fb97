"""An image of a volume, a plane or a list of windows opens again from its origin, written as text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from medimageinsight import images, studies
from medimageinsight.errors import ImageError, InputError
from tests.studies.phantom import ACQUISITIONS, SHAPE, voxels, write_series

if TYPE_CHECKING:
    from pathlib import Path

nibabel = pytest.importorskip("nibabel", reason="volumes need the extra")


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    path = tmp_path / "volume #1.nii.gz"
    values = voxels(ACQUISITIONS["axial"]).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.5, 4.0, 1])), path)
    return path


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    return write_series(tmp_path / "dicom", ACQUISITIONS["axial"])


def same(image: studies.StudyImage) -> bool:
    reopened = studies.open_image(str(image.origin))
    assert reopened.origin == image.origin
    return np.array_equal(images.load(reopened), images.load(image))


@pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("source", ["nifti", "dicom"])
def test_slices_open_again(source: str, plane: str | None, request: pytest.FixtureRequest) -> None:
    [study] = studies.read(request.getfixturevalue(source), plane=plane)
    [series] = study.series
    for image in (series.images[0], series.images[len(series.images) // 2], series.images[-1]):
        assert same(image)


def test_a_folder_is_resampled_once_until_a_file_changes(dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def read(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return studies.read(*args, **options)

    monkeypatch.setattr("medimageinsight.studies.opening.read", read)
    [study] = studies.read(dicom, plane="sagittal")
    first, last = (study.series[0].images[index] for index in (0, -1))
    assert same(first)
    assert same(last)
    assert len(calls) == 1
    changed = next(dicom.iterdir())
    dataset = pydicom.dcmread(changed)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(changed)
    os.utime(changed, ns=(1, 1))
    [study] = studies.read(dicom, plane="sagittal")
    assert same(study.series[0].images[0])
    assert len(calls) == 2


def test_the_text_names_plane_slice_and_window(nifti: Path) -> None:
    [study] = studies.read(nifti, plane="coronal", windows=["40/400", "soft tissue"])
    fragments = [image.origin.fragment for image in study.series[0].images[:3]]
    assert fragments == [
        "plane=coronal&frame=0&window=40/400",
        "plane=coronal&frame=0&window=soft-tissue",
        "plane=coronal&frame=1&window=40/400",
    ]


@pytest.mark.parametrize("source", ["nifti", "dicom"])
def test_each_window_is_an_image(source: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(source)
    [plain] = studies.read(path)
    [study] = studies.read(path, windows=["lung", "soft tissue", "bone"], select="frames:1,3")
    [series] = study.series
    assert len(series.images) == 3 * SHAPE[0]
    chosen = series.selected()
    assert [(image.origin.frame if source == "nifti" else None, image.origin.window) for image in chosen] == [
        (index if source == "nifti" else None, name) for index in (1, 3) for name in ("lung", "soft-tissue", "bone")
    ]
    for image in chosen:
        # The window of the image, not the one of the call
        expected = images.load(plain.series[0].images[series.images.index(image) // 3], window=image.origin.window)
        assert np.array_equal(images.load(image, window="1%-99%"), expected)
        assert same(image)


@pytest.mark.parametrize("source", ["nifti", "dicom"])
def test_three_windows_are_the_channels_of_an_image(source: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(source)
    windows = ["lung", (50, 400), "bone"]
    [plain], [study] = studies.read(path), studies.read(path, windows=windows, window_channels=True)
    assert len(study.series[0].images) == SHAPE[0]
    image = study.series[0].images[2]
    assert image.origin.window == "lung,50/400,bone"
    pixels = images.load(image)
    for channel, window in enumerate(windows):
        assert np.array_equal(pixels[..., channel], images.load(plain.series[0].images[2], window=window)[..., 0])
    assert same(image)


def test_a_percentile_window_is_part_of_the_text(nifti: Path) -> None:
    [study] = studies.read(nifti, windows=["1%-99%"])
    image = study.series[0].images[0]
    assert image.origin.fragment == "frame=0&window=1%25-99%25"
    assert same(image)


@pytest.mark.parametrize(
    ("windows", "channels", "code"),
    [([], False, "windows_invalid"), (["lung", "lung"], False, "windows_invalid"), (["x"], False, "window_invalid"),
     (["lung", "bone"], True, "windows_invalid")],
)  # fmt: skip
def test_invalid_windows_are_refused_before_a_file_is_read(windows: list[str], channels: bool, code: str) -> None:
    with pytest.raises(InputError) as caught:
        studies.read("missing", windows=windows, window_channels=channels)
    assert caught.value.code == code


def test_an_origin_beyond_the_volume_is_refused(nifti: Path) -> None:
    with pytest.raises(ImageError) as caught:
        studies.open_image(f"{nifti}#frame=99")
    assert caught.value.code == "image_frame_out_of_range"
    for text in ("window=x", "plane=coronal&frame=0&window=lung,lung"):
        with pytest.raises(InputError):
            studies.open_image(f"{nifti}#{text}")
