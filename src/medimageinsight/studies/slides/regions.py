"""Regions of a slide at any size, in bounded memory."""

from __future__ import annotations

from itertools import pairwise, product
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError, InputError
from medimageinsight.studies.slides.options import MAX_TILE_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.studies.origin import Region
    from medimageinsight.studies.slides.pyramid import Pyramid

_BLOCK_PIXELS = 1 << 22  # that are decoded at once
_MAX_READ_PIXELS = 1 << 33  # for one result: minutes


def read_scaled(
    pyramid: Pyramid, region: Region, size: tuple[int, int], *, damaged: list[int] | None = None
) -> Image.Image:
    """Return a region of the highest resolution's pixels as an RGB image of a size; what is outside the slide is white.

    The coarsest level with at least the resolution is read, in blocks, each reduced by the mean of the pixels that a
    new pixel covers. Stored pixels remain as they are where a level has the resolution.

    Args:
        pyramid: The slide.
        region: x, y, width and height in pixels of the highest resolution.
        size: Width and height of the result.
        damaged: Where it is given, blocks that cannot be decoded are white, and their numbers are appended.

    Raises:
        ImageError: ``slide_damaged``, ``slide_unsupported``; ``slide_too_large`` if the slide has no level that is
            coarse enough.
    """
    x, y, width, height = region
    level = pyramid.best_level(min(width / size[0], height / size[1]))
    factor = pyramid.levels[level].downsample
    across = _Axis.of(x / factor, width / factor, size[0])
    down = _Axis.of(y / factor, height / factor, size[1])
    if across.length * down.length > _MAX_READ_PIXELS:
        raise ImageError(
            "expected a slide with levels of lower resolution, got one that would have to be read as a whole: "
            "add levels to it, for example with vips",
            code="slide_too_large",
        )
    rows = max(1, floor(_BLOCK_PIXELS**0.5 / max(1.0, down.factor)))
    columns = max(1, floor(_BLOCK_PIXELS**0.5 / max(1.0, across.factor)))
    result = Image.new("RGB", size, (255, 255, 255))
    edges_down, edges_across = [*range(0, size[1], rows), size[1]], [*range(0, size[0], columns), size[0]]
    for number, ((top, bottom), (left, right)) in enumerate(product(pairwise(edges_down), pairwise(edges_across))):
        try:
            block = _read_block(pyramid, level, across, (left, right), down, (top, bottom))
        except ImageError:
            if damaged is None:
                raise
            damaged.append(number)
        else:
            result.paste(block, (left, top))
    return result


class _Axis:
    """Pixels of the result and of the level along one axis."""

    def __init__(self, start: float, factor: float, length: float) -> None:
        self.start = start  # of the region, in pixels of the level
        self.factor = factor  # pixels of the level for a pixel of the result
        self.length = length  # of the region, in pixels of the level

    @classmethod
    def of(cls, start: float, length: float, size: int) -> _Axis:
        if abs(length - size) < 1 + size / 100:  # the level has the resolution: its pixels are used as they are
            return cls(round(start), 1.0, size)
        return cls(start, length / size, length)


def _read_block(
    pyramid: Pyramid, level: int, across: _Axis, columns: tuple[int, int], down: _Axis, rows: tuple[int, int]
) -> Image.Image:
    left, right = (across.start + across.factor * column for column in columns)
    top, bottom = (down.start + down.factor * row for row in rows)
    pixels = _read_padded(pyramid, level, floor(left), floor(top), ceil(right - 1e-6), ceil(bottom - 1e-6))
    size = (columns[1] - columns[0], rows[1] - rows[0])
    image = Image.fromarray(pixels)
    if image.size == size:
        return image
    box = (
        left - floor(left),
        top - floor(top),
        min(right - floor(left), image.width),
        min(bottom - floor(top), image.height),
    )
    method = Image.Resampling.BICUBIC if across.factor < 1 else Image.Resampling.BOX
    return image.resize(size, method, box=box)


def _read_padded(pyramid: Pyramid, level: int, left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
    width, height = pyramid.levels[level].width, pyramid.levels[level].height
    x0, x1 = (min(max(value, 0), width) for value in (left, right))
    y0, y1 = (min(max(value, 0), height) for value in (top, bottom))
    if (x0, y0, x1, y1) == (left, top, right, bottom):
        return pyramid.read_level(level, x0, y0, x1 - x0, y1 - y0)
    out = np.full((bottom - top, right - left, 3), 255, np.uint8)
    if x1 > x0 and y1 > y0:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = pyramid.read_level(level, x0, y0, x1 - x0, y1 - y0)
    return out


def check_size(size: tuple[int, int]) -> None:
    """Reject the size of an image that is too large or empty (``region_invalid``)."""
    if not all(1 <= side <= MAX_TILE_PIXELS for side in size):
        raise InputError(
            f"expected an image of 1 to {MAX_TILE_PIXELS:,} pixels a side, got {size[0]:,} x {size[1]:,}: "
            "choose another size",
            code="region_invalid",
        )
