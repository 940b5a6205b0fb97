"""Changes to one training picture: what they keep, and that they depend on seed, epoch and id alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medimageinsight.errors import ConfigError
from medimageinsight.files import strict
from medimageinsight.train.augment_pixels import (
    CHANGES,
    PixelAugmentation,
    augment_pixels,
    crop_box,
    picture_rng,
)

RNG = np.random.default_rng(0)
PICTURE = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (8, 10, 3), dtype=np.uint8)).resize((60, 48), Image.Resampling.BICUBIC)
)
GREY = np.repeat(PICTURE[:, :, :1], 3, axis=2)
ALL = PixelAugmentation(crop_area=(0.6, 1.0), crop_ratio=(0.8, 1.25), trivial=True, erase=0.5)


def test_the_default_is_the_picture_as_inference_resizes_it():
    result = augment_pixels(PICTURE, 32, PixelAugmentation(), np.random.default_rng(0))
    plain = np.asarray(Image.fromarray(PICTURE).resize((32, 32), Image.Resampling.BICUBIC))
    assert (result == plain).all()


def test_the_same_seed_epoch_and_id_give_the_same_picture_and_others_another():
    def made(seed: int, epoch: int, name: str) -> bytes:
        return augment_pixels(PICTURE, 32, ALL, picture_rng(seed, epoch, name)).tobytes()

    first = made(1, 2, "a")
    assert first == made(1, 2, "a")
    others = {made(1, 2, "b"), made(1, 3, "a"), made(2, 2, "a")}
    assert first not in others
    assert len(others) == 3


@given(st.integers(0, 2**32), st.integers(0, 10_000), st.text(max_size=20), st.integers(1, 70), st.integers(1, 70))
def test_any_picture_keeps_type_and_shape_and_is_not_written_to(seed, epoch, name, height, width):
    pixels = np.full((height, width, 3), 200, np.uint8)
    pixels.setflags(write=False)
    result = augment_pixels(pixels, 24, ALL, picture_rng(seed, epoch, name))
    assert (result.shape, result.dtype) == ((24, 24, 3), np.uint8)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("amount", [-1.0, -0.4, 0.4, 1.0])
def test_no_change_lies_about_colour_or_is_far(name, amount):
    grey = CHANGES[name](GREY, amount, np.random.default_rng(1))
    assert (grey == grey[:, :, :1]).all()
    if name in ("none", "brightness", "contrast", "gamma", "sharpness", "noise"):  # what stays in its place
        assert np.corrcoef(GREY.ravel(), grey.ravel())[0, 1] > 0.95
    assert grey.shape == GREY.shape


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma"])
@pytest.mark.parametrize("amount", [-1.0, 1.0])
def test_what_is_brighter_stays_brighter(name, amount):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    changed = CHANGES[name](ramp, amount, np.random.default_rng(0))[0, :, 0].astype(int)
    assert (np.diff(changed) >= 0).all()
    assert len(np.unique(changed)) > 100


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "none"])
def test_a_change_of_no_strength_is_nearly_none_and_a_strong_one_is_seen(name):
    none, strong = (CHANGES[name](PICTURE, amount, np.random.default_rng(0)) for amount in (0.0, 1.0))
    assert np.abs(none.astype(int) - PICTURE).max() <= 1
    assert np.abs(strong.astype(int) - PICTURE).mean() > 0.5


def test_nothing_is_mirrored_but_kinds_that_may_be():
    settings = PixelAugmentation(flips={"dermoscopy skin": ("horizontal",)})
    plain = augment_pixels(PICTURE, 32, PixelAugmentation(), np.random.default_rng(0))
    seen = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (augment_pixels(PICTURE, 32, settings, rng, kind="x-ray chest") == plain).all()
        result = augment_pixels(PICTURE, 32, settings, rng, kind="dermoscopy skin")
        mirrored = (result == plain[:, ::-1]).all()
        assert mirrored or (result == plain).all()
        seen.add(bool(mirrored))
    assert seen == {True, False}
    star = PixelAugmentation(flips={"*": ("vertical",), "x-ray chest": ()})
    results = {augment_pixels(PICTURE, 32, star, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert results == {plain.tobytes(), plain[::-1].tobytes()}
    chest = (augment_pixels(PICTURE, 32, star, np.random.default_rng(s), kind="x-ray chest") for s in range(9))
    assert all((one == plain).all() for one in chest)


@given(st.integers(0, 10_000))
def test_a_crop_is_inside_and_of_the_size_asked_for(seed):
    settings = PixelAugmentation(crop_area=(0.5, 0.9), crop_ratio=(0.75, 1.33))
    left, top, width, height = crop_box(200, 100, settings, np.random.default_rng(seed))
    assert left >= 0 <= top
    assert left + width <= 200 + 1e-9
    assert top + height <= 100 + 1e-9
    share = width * height / 20_000
    assert 0.5 - 1e-9 <= share <= 0.9 + 1e-9 or share == 1.0


def test_erasing_is_one_rectangle_of_one_grey():
    settings = PixelAugmentation(erase=1.0, erase_area=(0.1, 0.1))
    changed = augment_pixels(PICTURE, 40, settings, np.random.default_rng(3))
    plain = augment_pixels(PICTURE, 40, PixelAugmentation(), np.random.default_rng(3))
    rows, columns = np.nonzero((changed != plain).any(axis=2))
    patch = changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert len(np.unique(patch)) == 1
    assert patch.shape[0] * patch.shape[1] == pytest.approx(160, rel=0.2)


@pytest.mark.parametrize(
    "wrong", [{"crop_area": [0.0, 1.0]}, {"crop_area": [0.9, 0.5]}, {"erase": 2.0}, {"crop_ratio": [2.0, 1.0]}]
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        strict.build(PixelAugmentation, wrong, "pixels")
