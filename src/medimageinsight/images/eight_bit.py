"""Scale values of any depth to 8 bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Up to 16 bits, a table of all values is smaller than most images.
_MAX_TABLE_SIZE = 1 << 16


def scale_to_uint8(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low`` to 0 and ``high`` to 255, linearly, rounded to nearest and clipped; if they are equal, all to 0.

    The values are real numbers of any shape and dtype; NaN becomes 0.
    """
    if not low < high:
        return np.zeros(np.shape(values), np.uint8)
    scaled = np.asarray(values, np.float64)
    if math.isinf(high - low):  # the difference overflows: halve all three
        scaled, low, high = scaled / 2, low / 2, high / 2
    return round_to_uint8((scaled - low) / (high - low) * 255)


def round_to_uint8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Convert values on the scale of 0 to 255 to uint8: rounded to nearest, clipped, NaN as 0."""
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), 0, 255).astype(np.uint8)


def map_distinct_values(pixels: NDArray[Any], render: Callable[[NDArray[Any]], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return ``render(pixels)``, computed once for each distinct value where integers repeat.

    `render` is element-wise and is called with values that occur in the pixels only.
    """
    if pixels.dtype.kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        if high - low < _MAX_TABLE_SIZE:
            # Modular arithmetic: the difference is right as unsigned even where it overflows the signed type.
            index = np.subtract(pixels, pixels.min()).astype(f"u{pixels.dtype.itemsize}")
            present = np.zeros(high - low + 1, bool)
            present[index] = True
            table = np.zeros(high - low + 1, np.uint8)
            table[present] = render(np.flatnonzero(present) + low)
            rendered: NDArray[np.uint8] = table[index]
            return rendered
    return render(pixels)
