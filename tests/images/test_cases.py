"""Files that were once read wrongly, refused or dangerous, against their right images."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from medimageinsight import images
from tests.images.dicom_datasets import error_code

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "cases" / "images"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the failed inputs (../shared/cases) are not there")

WITH_RIGHT_IMAGE = sorted(FOLDER.glob("*.right.png"))
FRAMES = {"d31f_bot_all_zero": 1, "e01_bot_single_zero_two_frames": 1}  # of the right image; else 0
DEEP_FILES = {
    "p06_f32_nan.tif": tifffile.imread,
    "p07_f64.tif": tifffile.imread,
    "p13_u64.tif": tifffile.imread,
    "p14_rgb16_12bit_range.tif": tifffile.imread,
    "p22_jpeg2000.tif": tifffile.imread,
    "p32_la16.png": lambda path: imagecodecs.png_decode(path.read_bytes())[:, :, 0],
    "p42_rgb16.jp2": lambda path: imagecodecs.jpeg2k_decode(path.read_bytes()),
    "p44_12bit.jpg": lambda path: imagecodecs.jpeg8_decode(path.read_bytes()),
    "p46.jls": lambda path: imagecodecs.jpegls_decode(path.read_bytes()),
}


def pixels(source: object, **options: object) -> np.ndarray:
    return np.asarray(images.open(source, **options).image.convert("RGB"), np.int16)


@pytest.mark.parametrize("right", WITH_RIGHT_IMAGE, ids=lambda path: path.name.split(".")[0])
def test_right_image(right: Path) -> None:
    name = right.name.removesuffix(".right.png")
    source = next(path for path in FOLDER.glob(f"{name}.*") if path != right)
    expected = np.asarray(Image.open(right).convert("RGB"), np.int16)
    shown = pixels(source, frame=FRAMES.get(name, 0))
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 1


@pytest.mark.parametrize("name", DEEP_FILES)
def test_deep_values_are_scaled_from_their_minimum_to_their_maximum(name: str) -> None:
    values = np.asarray(DEEP_FILES[name](FOLDER / name), np.float64)
    low, high = np.nanmin(values), np.nanmax(values)
    expected = np.nan_to_num((values - low) / (high - low) * 255)
    shown = pixels(FOLDER / name)
    np.testing.assert_allclose(shown if values.ndim == 3 else shown[:, :, 0], expected, atol=0.51)


def test_pages() -> None:
    levels = [int(pixels(FOLDER / "three_pages.tif", frame=frame).mean()) for frame in range(3)]
    assert levels[0] == 0
    assert levels[1] == 255
    assert 0 < levels[2] < 255


def test_the_second_lut_replaces_a_broken_first() -> None:
    path = FOLDER / "e17_first_voilut_broken_second_good.dcm"
    second_only = pydicom.dcmread(path)
    del second_only.VOILUTSequence[0]
    np.testing.assert_array_equal(pixels(path), pixels(second_only))
    assert [warning.code for warning in images.open(path).warnings] == ["voi_lut_malformed"]
    assert images.open(second_only).warnings == ()


def test_damaged_lossless_jpeg() -> None:
    assert images.open(FOLDER / "r00_jpeg_lossless_good.dcm").image.size == (64, 64)
    assert error_code(FOLDER / "r01_KILLS_jpeg_lossless_one_byte_damaged.dcm") == "image_truncated"


def test_five_channels_are_unsupported() -> None:
    assert error_code(FOLDER / "p16_5ch.tif") == "image_unsupported"


def test_every_file_is_tested() -> None:
    tested = {path.name.removesuffix(".right.png") for path in WITH_RIGHT_IMAGE} | {
        Path(name).stem for name in DEEP_FILES
    }
    others = {path.stem for path in FOLDER.iterdir() if not path.name.endswith((".right.png", ".md"))} - tested
    assert others == {
        "e17_first_voilut_broken_second_good",
        "p16_5ch",
        "r00_jpeg_lossless_good",
        "r01_KILLS_jpeg_lossless_one_byte_damaged",
        "three_pages",
    }
