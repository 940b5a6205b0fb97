"""Scale values of any depth to 8 bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

# A table of all values between the smallest and the largest pixel.
_MAX_TABLE_SIZE = 1 << 16
# Values computed at a time: intermediate floats stay in the cache of a core, however large the image.
_BLOCK = 1 << 16


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
    """Return ``render(pixels)``, computed in blocks, and once for each value where integers repeat.

    `render` is element-wise; it may be called with any integer between the smallest and the largest pixel. Apart from
    the result, little memory is used.
    """
    result = np.empty(pixels.shape, np.uint8)
    if pixels.dtype.kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        if high - low < min(pixels.size, _MAX_TABLE_SIZE):
            # Modular arithmetic: sum and difference are right even where they overflow a signed type.
            first, unsigned = pixels.dtype.type(low), f"u{pixels.dtype.itemsize}"
            table = render(first + np.arange(high - low + 1).astype(type(first)))
            for values, rendered in _blocks(pixels, result):
                rendered[...] = np.take(table, np.subtract(values, first).view(unsigned).astype(np.intp))
            return result
    for values, rendered in _blocks(pixels, result):
        rendered[...] = render(values)
    return result


def _blocks(pixels: NDArray[Any], result: NDArray[np.uint8]) -> Iterator[tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Yield one-dimensional blocks of the pixels, in native byte order, with the blocks of the result to write to."""
    with np.nditer(
        (pixels, result),
        flags=("external_loop", "buffered", "zerosize_ok"),
        op_flags=(("readonly",), ("writeonly",)),
        op_dtypes=(pixels.dtype.newbyteorder("="), np.uint8),
        order="C",
        casting="equiv",
        buffersize=_BLOCK,
    ) as blocks:
        yield from blocks
