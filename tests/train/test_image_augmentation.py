"""Augmentation of single images: valid output that depends only on seed, step and id."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.train.image_augmentation import (
    CHANGES,
    PixelAugmentation,
    augment_image,
    crop_box,
    image_rng,
)

RNG = np.random.default_rng(0)
IMAGE = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8)).resize((60, 48), Image.Resampling.BICUBIC)
)
GREY = np.repeat(IMAGE[:, :, :1], 3, axis=2)
ALL = PixelAugmentation(crop_area=(0.6, 1.0), crop_ratio=(0.8, 1.25), trivial=True, erase=0.5)


def test_default_settings_resize_as_for_inference():
    result = augment_image(IMAGE, 32, PixelAugmentation(), np.random.default_rng(0))
    expected = np.asarray(Image.fromarray(IMAGE).resize((32, 32), Image.Resampling.BICUBIC))
    assert (result == expected).all()


def test_result_depends_on_seed_step_and_id():
    def augmented(seed: int, step: int, name: str) -> bytes:
        return augment_image(IMAGE, 32, ALL, image_rng(seed, step, name)).tobytes()

    first = augmented(1, 2, "a")
    assert first == augmented(1, 2, "a")
    others = {augmented(1, 2, "b"), augmented(1, 3, "a"), augmented(2, 2, "a")}
    assert first not in others
    assert len(others) == 3


@given(st.integers(0, 2**32), st.integers(0, 10_000), st.text(max_size=20), st.integers(1, 70), st.integers(1, 70))
def test_any_image_gives_expected_shape_and_is_not_modified(seed, step, name, height, width):
    pixels = np.full((height, width, 3), 200, np.uint8)
    pixels.setflags(write=False)
    result = augment_image(pixels, 24, ALL, image_rng(seed, step, name))
    assert (result.shape, result.dtype) == ((24, 24, 3), np.uint8)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("amount", [-1.0, -0.4, 0.4, 1.0])
def test_changes_preserve_colour_and_are_moderate(name, amount):
    grey = CHANGES[name](GREY, amount, np.random.default_rng(1))
    assert (grey == grey[:, :, :1]).all()
    if name in ("none", "brightness", "contrast", "gamma", "sharpness", "noise"):  # pixels do not move
        assert np.corrcoef(GREY.ravel(), grey.ravel())[0, 1] > 0.95
    assert grey.shape == GREY.shape


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma"])
@pytest.mark.parametrize("amount", [-1.0, 1.0])
def test_intensity_changes_are_monotonic(name, amount):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    changed = CHANGES[name](ramp, amount, np.random.default_rng(0))[0, :, 0].astype(int)
    assert (np.diff(changed) >= 0).all()
    assert len(np.unique(changed)) > 100


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "none"])
def test_strength_zero_changes_nearly_nothing_and_one_is_visible(name):
    none, strong = (CHANGES[name](IMAGE, amount, np.random.default_rng(0)) for amount in (0.0, 1.0))
    assert np.abs(none.astype(int) - IMAGE).max() <= 1
    assert np.abs(strong.astype(int) - IMAGE).mean() > 0.5


def test_flips_only_the_configured_kinds():
    settings = PixelAugmentation(flips={"dermoscopy skin": ("horizontal",)})
    plain = augment_image(IMAGE, 32, PixelAugmentation(), np.random.default_rng(0))
    seen = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (augment_image(IMAGE, 32, settings, rng, kind="x-ray chest") == plain).all()
        result = augment_image(IMAGE, 32, settings, rng, kind="dermoscopy skin")
        mirrored = (result == plain[:, ::-1]).all()
        assert mirrored or (result == plain).all()
        seen.add(bool(mirrored))
    assert seen == {True, False}
    star = PixelAugmentation(flips={"*": ("vertical",), "x-ray chest": ()})
    results = {augment_image(IMAGE, 32, star, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert results == {plain.tobytes(), plain[::-1].tobytes()}
    chest = (augment_image(IMAGE, 32, star, np.random.default_rng(s), kind="x-ray chest") for s in range(9))
    assert all((result == plain).all() for result in chest)


@given(st.integers(0, 10_000))
def test_crop_is_inside_the_image_and_has_the_configured_area(seed):
    settings = PixelAugmentation(crop_area=(0.5, 0.9), crop_ratio=(0.75, 1.33))
    left, top, width, height = crop_box(200, 100, settings, np.random.default_rng(seed))
    assert left >= 0 <= top
    assert left + width <= 200 + 1e-9
    assert top + height <= 100 + 1e-9
    share = width * height / 20_000
    assert 0.5 - 1e-9 <= share <= 0.9 + 1e-9 or share == 1.0


def test_erasing_fills_one_rectangle_with_one_grey():
    settings = PixelAugmentation(erase=1.0, erase_area=(0.1, 0.1))
    changed = augment_image(IMAGE, 40, settings, np.random.default_rng(3))
    plain = augment_image(IMAGE, 40, PixelAugmentation(), np.random.default_rng(3))
    rows, columns = np.nonzero((changed != plain).any(axis=2))
    patch = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert len(np.unique(patch)) == 1
    assert patch.shape[0] * patch.shape[1] == pytest.approx(160, rel=0.2)


def test_native_crop_shows_pixels_of_the_file():
    settings = PixelAugmentation(native=1.0, native_side=(24, 24))
    for seed in range(9):
        result = augment_image(IMAGE, 24, settings, np.random.default_rng(seed))
        windows = np.lib.stride_tricks.sliding_window_view(IMAGE, (24, 24, 3))[:, :, 0]
        assert (windows == result).all(axis=(2, 3, 4)).any()
    small = crop_box(20, 10, settings, np.random.default_rng(0))
    assert small[2:] == (10, 10), "the largest square of a smaller image"


def test_coarse_image_has_lower_resolution():
    settings = PixelAugmentation(coarse=1.0, coarse_side=(6, 6))
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    plain, coarse = (augment_image(noise, 48, s, np.random.default_rng(1)) for s in (PixelAugmentation(), settings))
    assert np.abs(np.diff(coarse.astype(int), axis=1)).mean() < 0.3 * np.abs(np.diff(plain.astype(int), axis=1)).mean()


def test_window_changes_grey_images_alone():
    settings = PixelAugmentation(window=1.0)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(256, axis=0)
    shown = {augment_image(ramp, 256, settings, np.random.default_rng(seed))[0, :, 0].tobytes() for seed in range(20)}
    assert len(shown) == 20
    for levels in (np.frombuffer(row, np.uint8).astype(int) for row in shown):
        assert (np.diff(levels) >= 0).all()
        assert levels[-1] > levels[0] + 100
    plain = augment_image(IMAGE, 32, PixelAugmentation(), np.random.default_rng(0))
    assert (augment_image(IMAGE, 32, settings, np.random.default_rng(0)) == plain).all(), "colour is the finding"


def test_draws_are_the_same_at_every_size():
    settings = PixelAugmentation(trivial=True, native=0.3, coarse=0.3, window=0.3, flips={"*": ("horizontal",)})
    for seed in range(40):
        large = (
            augment_image(GREY, 64, settings, np.random.default_rng(seed)).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
        )
        small = augment_image(GREY, 32, settings, np.random.default_rng(seed))
        assert np.abs(large - small).mean() < 9


@pytest.mark.parametrize(
    "settings",
    [
        {"crop_area": [0.0, 1.0]},
        {"crop_area": [0.9, 0.5]},
        {"erase": 2.0},
        {"crop_ratio": [2.0, 1.0]},
        {"native": -0.1},
        {"coarse_side": [0, 4]},
        {"native_side": [9, 8]},
    ],
)
def test_rejects_invalid_settings(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        strict.build(PixelAugmentation, settings, "pixels")
