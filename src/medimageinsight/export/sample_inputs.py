"""Generated inputs to compare two runtimes on: integer arithmetic from a fixed seed, the same on every machine.

They are generated because PyTorch's embeddings of them are part of every bundle, which must not hold anyone's images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.preprocess import Preprocessing


SEED = 2024
DRAWS = 4  # per kind of image: with 16 images, the ten nearest of an image are not all that remain
TEXT_LENGTHS = (2, 3, 14, 15, 40)  # tokens with start and end: empty, one word, usual prompts, a sentence


@dataclass(frozen=True, kw_only=True)
class ComparisonInputs:
    """Images and prompts on which a bundle and its network are compared."""

    pixels: NDArray[np.float32]  # (N, 3, H, W)
    tokens: list[list[int]]  # of P prompts
    labels: list[int]  # the label of each prompt


def generate_samples(settings: Preprocessing, *, vocab_size: int, context_length: int) -> ComparisonInputs:
    """Generate 16 images of a model's size, four kinds drawn four times, and a few texts, each its own label.

    The kinds: noise with the 1/f spectrum of natural images; a bright disc on a gradient; noise in the middle of a
    black background, as in many scans; noise clipped to black and white. None is constant: the network divides by the
    spread of its input, and where this is rounding alone, float32 results differ ten times as much.
    """
    height, width = settings.image_size
    rng = np.random.Generator(np.random.PCG64(SEED))
    images = np.concatenate([_draw_kinds(rng, height, width, radius=DRAWS - draw) for draw in range(DRAWS)])
    mean, std = (np.array(values)[:, np.newaxis, np.newaxis] for values in (settings.mean, settings.std))
    tokens = sample_tokens(vocab_size, context_length)
    return ComparisonInputs(
        pixels=((images / 255 - mean) / std).astype(np.float32), tokens=tokens, labels=list(range(len(tokens)))
    )


def sample_tokens(vocab_size: int, context_length: int) -> list[list[int]]:
    """Generate token ids of texts from the empty one to a full context, unpadded; each ends with the last id."""
    lengths = sorted({*(length for length in TEXT_LENGTHS if length < context_length), context_length})
    return random_tokens(vocab_size, lengths, seed=SEED)


def random_tokens(vocab_size: int, lengths: Sequence[int], *, seed: int) -> list[list[int]]:
    """Generate a row of random token ids for each length; it ends with the last id."""
    rng = np.random.Generator(np.random.PCG64(seed))
    end = vocab_size - 1
    return [[*rng.integers(0, end, size=length - 1).tolist(), end] for length in lengths]


def _draw_kinds(rng: np.random.Generator, height: int, width: int, *, radius: int) -> NDArray[np.uint8]:
    """Draw one image of each kind, (4, 3, H, W); `radius` of the disc in eighths of the shorter side."""
    noise = _draw_noise(rng, height, width)
    dark = np.zeros_like(noise)
    middle = (slice(None), slice(height // 4, -(-3 * height // 4)), slice(width // 4, -(-3 * width // 4)))
    dark[middle] = noise[middle]
    clipped = np.where(noise < 128, 0, 255).astype(np.uint8)
    return np.stack([noise, _draw_disc(height, width, radius), dark, clipped])


def _draw_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Draw (3, H, W): random squares of 1, 2, 4 ... pixels, weighted by their size."""
    total, weights = np.zeros((3, height, width), dtype=np.int64), 0
    for octave in range(min(height, width).bit_length()):
        size = 1 << octave
        grid = rng.integers(0, 256, size=(3, -(-height // size), -(-width // size)))
        total += size * grid.repeat(size, axis=1).repeat(size, axis=2)[:, :height, :width]
        weights += size
    return (total // weights).astype(np.uint8)


def _draw_disc(height: int, width: int, radius: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    gradient = 160 * (x + y) // (height + width)
    inside = 16 * ((2 * y - height) ** 2 + (2 * x - width) ** 2) < (radius * min(height, width)) ** 2
    return np.stack([np.where(inside, 255 - gradient // channel, gradient) for channel in (1, 2, 3)]).astype(np.uint8)
