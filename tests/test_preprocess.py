"""Preprocessing against a plain reference implementation."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from medimageinsight import images
from medimageinsight.errors import BundleError, InputError
from medimageinsight.images import DecodedImage
from medimageinsight.preprocess import Preprocessing, preprocess, standardize

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"]
RELEASE = Preprocessing(image_size=(480, 480), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SMALL = Preprocessing(image_size=(24, 40), mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def make_image(mode: str, width: int = 90, height: int = 70) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return (image.convert("LA") if mode == "PA" else image).convert(mode)


def direct(image: Image.Image, config: Preprocessing) -> np.ndarray:
    """Reference implementation, step by step, always in three channels."""
    height, width = config.image_size
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    scaled = np.asarray(resized).astype(np.float32) / np.float32(255)
    return ((scaled - np.array(config.mean, np.float32)) / np.array(config.std, np.float32)).transpose(2, 0, 1)


def azure(image: Image.Image, config: Preprocessing, size: int = 512, quality: int = 75) -> np.ndarray:
    buffer = io.BytesIO()
    image.resize((size, size)).convert("RGB").save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return direct(decoded, config)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("config", [RELEASE, SMALL], ids=["480", "24x40"])
def test_direct_equals_the_reference_bit_for_bit(mode: str, config: Preprocessing) -> None:
    image = make_image(mode)
    tensor = preprocess(DecodedImage(image=image), config)
    assert tensor.shape == (3, *config.image_size)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, direct(image, config))


@pytest.mark.parametrize("mode", MODES)
def test_azure_equals_the_reference_bit_for_bit(mode: str) -> None:
    image = make_image(mode)
    np.testing.assert_array_equal(preprocess(DecodedImage(image=image), SMALL, steps="azure"), azure(image, SMALL))


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
def test_grey_as_one_channel_gives_the_same_jpeg_pixels(quality: int) -> None:
    grey = Image.fromarray(np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8))
    options = {"steps": "azure", "standardization_size": 100, "jpeg_quality": quality}
    np.testing.assert_array_equal(
        preprocess(DecodedImage(image=grey), SMALL, **options),
        preprocess(DecodedImage(image=grey.convert("RGB")), SMALL, **options),
    )


def test_direct_applies_the_orientation_and_azure_does_not() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    make_image("RGB").save(buffer, "JPEG", exif=exif.tobytes(), quality=90)
    decoded = images.open(buffer.getvalue())
    with Image.open(buffer) as stored:
        np.testing.assert_array_equal(preprocess(decoded, SMALL), direct(ImageOps.exif_transpose(stored), SMALL))
        np.testing.assert_array_equal(preprocess(decoded, SMALL, steps="azure"), azure(stored, SMALL))


def test_the_default_of_the_settings_can_be_overridden() -> None:
    decoded = DecodedImage(image=make_image("RGB"))
    hosted = dataclasses.replace(SMALL, default="azure", standardization_size=64, jpeg_quality=20)
    np.testing.assert_array_equal(preprocess(decoded, hosted), azure(decoded.image, SMALL, 64, 20))
    np.testing.assert_array_equal(
        preprocess(decoded, hosted, standardization_size=80, jpeg_quality=90), azure(decoded.image, SMALL, 80, 90)
    )
    np.testing.assert_array_equal(preprocess(decoded, hosted, steps="direct"), direct(decoded.image, SMALL))


@given(
    mode=st.sampled_from(MODES),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    steps=st.sampled_from(["direct", "azure"]),
)
@settings(max_examples=60, deadline=None)
def test_any_size_from_one_pixel(mode: str, width: int, height: int, steps: str) -> None:
    image = make_image(mode, width, height)
    tensor = preprocess(DecodedImage(image=image), SMALL, steps=steps, standardization_size=33)
    expected = direct(image, SMALL) if steps == "direct" else azure(image, SMALL, 33)
    np.testing.assert_array_equal(tensor, expected)


def test_the_image_is_not_changed() -> None:
    image = make_image("RGB")
    before = image.tobytes()
    first = preprocess(DecodedImage(image=image), SMALL, steps="azure")
    np.testing.assert_array_equal(first, preprocess(DecodedImage(image=image), SMALL, steps="azure"))
    assert image.tobytes() == before


@pytest.mark.parametrize(
    "options",
    [
        {"steps": "hosted"},
        {"steps": "azure", "standardization_size": 0},
        {"steps": "azure", "standardization_size": 1_000_000},
        {"steps": "azure", "jpeg_quality": 0},
        {"steps": "azure", "jpeg_quality": 101},
        {"steps": "azure", "jpeg_quality": True},
    ],
)
def test_rejects_settings_out_of_range(options: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        preprocess(DecodedImage(image=make_image("L")), SMALL, **options)
    assert caught.value.code == "preprocessing_invalid"


@pytest.mark.parametrize("change", [{"image_size": (0, 4)}, {"std": (1.0, 0.0, 1.0)}, {"default": "other"}])
def test_rejects_invalid_settings(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(SMALL, **change)


def test_standardize_reports_the_invalid_value() -> None:
    with pytest.raises(InputError, match="standardization size from 1 to 4096, got -3"):
        standardize(make_image("L"), size=-3, jpeg_quality=75)


def test_a_manifest_stores_the_settings() -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(RELEASE.to_dict()))) == RELEASE


@pytest.mark.parametrize(
    "change",
    [
        {"mean": None},
        {"mean": [1, 2]},
        {"image_size": [0, 4]},
        {"image_size": "480"},
        {"default": "other"},
        {"extra": 1},
    ],
)
def test_rejects_a_wrong_manifest(change: dict[str, object]) -> None:
    with pytest.raises(BundleError) as caught:
        Preprocessing.from_dict(RELEASE.to_dict() | change)
    assert caught.value.code == "bundle_invalid"


def test_the_error_names_a_missing_key() -> None:
    values = RELEASE.to_dict()
    del values["std"]
    with pytest.raises(BundleError, match="missing std"):
        Preprocessing.from_dict(values)
