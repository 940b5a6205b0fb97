"""Values of any depth to 8-bit grey."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Up to 16 bits, a table of all values is smaller than most pictures.
_MOST_LEVELS = 1 << 16


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low`` to 0 and ``high`` to 255, linearly, rounded to nearest and clipped; if they are equal, all to 0.

    Args:
        values: Real numbers of any shape and dtype; NaN becomes 0.
        low: Value that becomes black.
        high: Value that becomes white.
    """
    if not low < high:
        return np.zeros(np.shape(values), np.uint8)
    scaled = np.asarray(values, np.float64)
    if math.isinf(high - low):  # two huge numbers of opposite signs: their halves are near enough
        scaled, low, high = scaled / 2, low / 2, high / 2
    return to_bytes((scaled - low) / (high - low) * 255)


def to_bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers on the scale of 0 to 255 as uint8: rounded to the nearest, clipped, NaN as 0."""
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), 0, 255).astype(np.uint8)


def by_level(pixels: NDArray[Any], render: Callable[[NDArray[Any]], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """``render(pixels)`` for a function of values alone, computed once a value where integers repeat.

    Args:
        pixels: Stored values, any shape.
        render: Gives one uint8 for each value it is given; it sees each value that occurs, and no other.
    """
    if pixels.dtype.kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        if high - low < _MOST_LEVELS:
            # Modular arithmetic: the difference is right as unsigned even where it overflows the signed type.
            index = np.subtract(pixels, pixels.min()).astype(f"u{pixels.dtype.itemsize}")
            present = np.zeros(high - low + 1, bool)
            present[index] = True
            table = np.zeros(high - low + 1, np.uint8)
            table[present] = render(np.flatnonzero(present) + low)
            grey: NDArray[np.uint8] = table[index]
            return grey
    return render(pixels)
