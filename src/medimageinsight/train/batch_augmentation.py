"""Random augmentation of a batch of training images, as tensor operations on the whole batch: a few milliseconds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.train.config import ImageAugmentation


def augment_batch(
    pixels: Tensor, size: int, kinds: Sequence[str], settings: ImageAugmentation, rng: np.random.Generator
) -> Tensor:
    """Crop, rotate, stretch, flip, change the brightness of, and erase part of each image of a batch.

    Hue is never changed: in medical images colour is a finding. ``pixels`` is (B, 3, S, S) uint8 with S a little larger
    than ``size``; ``kinds`` are the images' keys in ``settings.flips``.

    Returns:
        (B, 3, size, size) float32 in 0..1, channels last.
    """
    x = _warp(pixels.float().div_(255), size, kinds, settings, rng)
    x = _adjust_intensity(x, settings, rng)
    return _erase(x, settings.erase, rng).clamp_(0, 1)


def _warp(x: Tensor, size: int, kinds: Sequence[str], settings: ImageAugmentation, rng: np.random.Generator) -> Tensor:
    batch = len(x)
    angle = np.radians(rng.uniform(-settings.rotation, settings.rotation, batch))
    scale = rng.uniform(*settings.scale, batch)
    stretch = np.exp(rng.uniform(-settings.stretch, settings.stretch, batch) / 2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos * stretch, -sin * stretch], [sin / stretch, cos / stretch]]).transpose(2, 0, 1)  # (B, 2, 2)
    linear = linear @ np.stack([_flip(settings.flips.get(kind, ()), rng) for kind in kinds])
    # A crop moves within the image; `shift` is added to that, and is all that a whole image moves.
    reach = np.maximum(1 - scale, 0) + settings.shift
    offset = rng.uniform(-1, 1, (batch, 2)) * reach[:, None]
    theta = torch.from_numpy(np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32))  # (B, 2, 3)
    grid = F.affine_grid(theta, [batch, 3, size, size], align_corners=False)
    warped = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last)


def _flip(allowed: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    matrix = np.eye(2)
    if "horizontal" in allowed and rng.random() < 0.5:
        matrix[:, 0] *= -1
    if "vertical" in allowed and rng.random() < 0.5:
        matrix[:, 1] *= -1
    if "transpose" in allowed and rng.random() < 0.5:
        matrix = matrix[:, ::-1]
    return matrix


def _adjust_intensity(x: Tensor, settings: ImageAugmentation, rng: np.random.Generator) -> Tensor:
    def draw(limit: float) -> Tensor:
        return torch.from_numpy(rng.uniform(-limit, limit, (len(x), 1, 1, 1)).astype(np.float32))

    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * draw(settings.contrast).exp() + mean + draw(settings.brightness)
    x = x.clamp(1e-4, 1).pow(draw(settings.gamma).exp())
    if settings.noise:
        deviation = torch.from_numpy(rng.uniform(0, settings.noise, (len(x), 1, 1, 1)).astype(np.float32))
        x = x + deviation * torch.from_numpy(rng.standard_normal((len(x), 1, *x.shape[2:]), dtype=np.float32))
    return x


def _erase(x: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    side = x.shape[-1]
    for i in np.flatnonzero(rng.random(len(x)) < probability):
        area, ratio = rng.uniform(0.02, 0.2), math.exp(rng.uniform(-1, 1))
        height, width = (min(side, max(1, round(side * math.sqrt(area * r)))) for r in (ratio, 1 / ratio))
        top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
        x[i, :, top : top + height, left : left + width] = float(rng.random())
    return x
