"""Inputs to compare two runtimes on: made by integer arithmetic from a fixed seed, so the same on every machine.

Made rather than real, because they travel with every bundle's figures and nobody's picture should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.preprocess import Preprocessing

SEED = 2024
DRAWS = 4  # of each kind of picture: with sixteen, the ten nearest others of one are not all of them
TEXT_LENGTHS = (2, 3, 14, 15, 40)  # tokens, ends counted: empty, one word, usual prompts, a sentence


def sample_pixels(settings: Preprocessing) -> NDArray[np.float32]:
    """Sixteen pictures as the image encoder takes them, (16, 3, H, W) float32: four kinds, drawn four times.

    Noise with the 1/f spectrum of natural images, a bright disc on a gradient, noise in the middle of a black
    background as in many scans, and noise clipped to black and white. None has one value all over: the network divides
    by the spread of what it sees, and where that is rounding alone, float32 results differ ten times as much.
    """
    height, width = settings.image_size
    rng = np.random.Generator(np.random.PCG64(SEED))
    pictures = np.concatenate([_draw(rng, height, width, radius=DRAWS - draw) for draw in range(DRAWS)])
    mean, std = (np.array(values)[:, np.newaxis, np.newaxis] for values in (settings.mean, settings.std))
    normalised: NDArray[np.float64] = (pictures / 255 - mean) / std
    return normalised.astype(np.float32)


def sample_tokens(vocab_size: int, context_length: int) -> list[list[int]]:
    """Token ids of texts from the empty one to a full context, not padded; the last id ends each."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    end = vocab_size - 1
    lengths = sorted({*(length for length in TEXT_LENGTHS if length < context_length), context_length})
    return [[*rng.integers(0, end, size=length - 1).tolist(), end] for length in lengths]


def _draw(rng: np.random.Generator, height: int, width: int, *, radius: int) -> NDArray[np.uint8]:
    """One picture of each kind, (4, 3, H, W); `radius` of the disc in eighths of the smaller side."""
    noise = _noise(rng, height, width)
    dark = np.zeros_like(noise)
    middle = (slice(None), slice(height // 4, -(-3 * height // 4)), slice(width // 4, -(-3 * width // 4)))
    dark[middle] = noise[middle]
    clipped = np.where(noise < 128, 0, 255).astype(np.uint8)
    return np.stack([noise, _disc(height, width, radius), dark, clipped])


def _noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """(3, H, W): random squares of 1, 2, 4 ... pixels, each size as strong as it is large."""
    total, weights = np.zeros((3, height, width), dtype=np.int64), 0
    for octave in range(min(height, width).bit_length()):
        side = 1 << octave
        grid = rng.integers(0, 256, size=(3, -(-height // side), -(-width // side)))
        total += side * grid.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]
        weights += side
    return (total // weights).astype(np.uint8)


def _disc(height: int, width: int, radius: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    gradient = 160 * (x + y) // (height + width)
    inside = 16 * ((2 * y - height) ** 2 + (2 * x - width) ** 2) < (radius * min(height, width)) ** 2
    return np.stack([np.where(inside, 255 - gradient // channel, gradient) for channel in (1, 2, 3)]).astype(np.uint8)
