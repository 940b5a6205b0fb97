"""Render colour stored values as 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.images.eight_bit import map_distinct_values, scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray


def render_palette(stored: NDArray[Any], first: int, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Map palette indices (H, W) to RGB (H, W, 3), indices outside the palette to its nearest end (PS3.3 C.7.6.3.1.5).

    Args:
        stored: Stored values, integers.
        first: Stored value that is mapped to the first entry of the palette.
        palette: (n, 3) uint8.
    """
    index = np.clip(stored.astype(np.int64) - first, 0, len(palette) - 1)
    return palette[index]


def render_rgb(stored: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Reduce RGB (H, W, 3) of ``bits`` bits a sample to 8 bits a sample."""
    if bits == 8 and stored.dtype == np.uint8:
        return stored
    return map_distinct_values(stored, lambda values: scale_to_uint8(values, 0, (1 << bits) - 1))
