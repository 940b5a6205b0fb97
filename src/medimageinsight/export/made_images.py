"""Images that show nothing, blank ones and noise, which no model should take for one of its own kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIZE = 128  # pixels
BLANK_IMAGES, NOISE_IMAGES = 40, 80


def make_images(seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield 40 images of a single grey or colour and 80 of noise, each (128, 128, 3) uint8.

    Noise is normal, of pixels of 1 to 32 times their size, in grey or in colours; brightness and contrast differ.
    """
    rng = np.random.default_rng(seed)
    for index in range(BLANK_IMAGES):
        values = rng.integers(0, 256, 3 if index % 2 else 1, dtype=np.uint8)
        yield np.broadcast_to(values, (SIZE, SIZE, 3)).copy()
    for index in range(NOISE_IMAGES):
        size = int(2 ** rng.uniform(2, 7))
        normal = rng.normal(rng.uniform(60, 200), rng.uniform(10, 90), (size, size, 3 if index % 2 else 1))
        pixels = np.broadcast_to(np.clip(normal, 0, 255).astype(np.uint8), (size, size, 3))
        yield np.asarray(Image.fromarray(pixels.copy()).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
