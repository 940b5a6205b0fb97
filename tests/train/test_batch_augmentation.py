"""Augmentation of batches held in memory."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medimageinsight.train.batch_augmentation import augment_batch
from medimageinsight.train.config import ImageAugmentation

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8))
KINDS = ["x-ray chest"] * 6


def test_default_settings_change_nothing() -> None:
    result = augment_batch(IMAGES, 32, KINDS, ImageAugmentation(), np.random.default_rng(0))
    assert torch.allclose(result, IMAGES / 255, atol=2e-4)


def test_shape_range_and_repeatability() -> None:
    settings = ImageAugmentation(
        rotation=20,
        scale=(0.7, 1.1),
        stretch=0.3,
        shift=0.1,
        brightness=0.2,
        contrast=0.4,
        gamma=0.4,
        noise=0.05,
        erase=0.5,
    )
    first, second = (augment_batch(IMAGES, 24, KINDS, settings, np.random.default_rng(7)) for _ in range(2))
    assert first.shape == (6, 3, 24, 24)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)


def test_flips_only_the_configured_kinds() -> None:
    settings = ImageAugmentation(flips={"dermoscopy skin": ("horizontal",)})
    kinds = ["x-ray chest"] * 3 + ["dermoscopy skin"] * 3
    plain, mirrored = IMAGES / 255, (IMAGES / 255).flip(-1)
    flipped = set()
    for seed in range(10):
        result = augment_batch(IMAGES, 32, kinds, settings, np.random.default_rng(seed))
        assert torch.allclose(result[:3], plain[:3], atol=2e-4)
        for i in range(3, 6):
            is_mirrored = torch.allclose(result[i], mirrored[i], atol=2e-4)
            assert is_mirrored or torch.allclose(result[i], plain[i], atol=2e-4)
            flipped.add(is_mirrored)
    assert flipped == {True, False}


def test_colour_is_preserved() -> None:
    grey = IMAGES[:, :1].expand(-1, 3, -1, -1).contiguous()
    settings = ImageAugmentation(brightness=0.3, contrast=0.5, gamma=0.5, noise=0.1)
    result = augment_batch(grey, 32, KINDS, settings, np.random.default_rng(1))
    assert torch.equal(result[:, 0], result[:, 1])
    assert torch.equal(result[:, 0], result[:, 2])
