"""Find the tissue of a slide on a small image of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.studies.slides.pyramid import extra_missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import Image

# Otsu's threshold splits any image into two parts, also one of glass or of tissue alone: it is bounded.
_SATURATION = (8, 16)  # of 255: fat, whose membranes are thin, has little more
_DARKNESS = (26, 77)  # of 255, for grey slides
_DARK = 26  # a pixel of lower value is black: the edge of the scan, whose saturation is noise
_GLASS = 95  # percentile of a channel: the colour of the glass, if it is bright and nearly grey
_MIN_GLASS, _MAX_TINT = 190, 45
_GREY = 2  # of 255: the highest saturation of a grey slide


def find_tissue(image: Image.Image) -> NDArray[np.bool_]:
    """Return which pixels of an RGB image of a stained slide are tissue, (H, W).

    Tissue is more saturated than glass: by Otsu's threshold (1979) of the saturation, from 3 to 6 per cent, after the
    tint of the glass was removed. Of a grey slide, tissue is what is darker than the glass.

    Raises:
        ImageError: ``slide_extra_missing``: scikit-image is not installed.
    """
    try:
        from skimage import filters
    except ImportError:
        raise extra_missing("slides", "finding the tissue of a slide") from None
    threshold_otsu: Callable[[NDArray[np.uint8]], float] = filters.threshold_otsu
    _, saturation, value = (np.asarray(channel) for channel in _without_tint(image).convert("HSV").split())
    usable = value >= _DARK
    measure, (low, high) = (saturation, _SATURATION)
    if not (saturation[usable] > _GREY).any():
        measure, (low, high) = 255 - value, _DARKNESS
    if not usable.any():
        return usable
    tissue: NDArray[np.bool_] = usable & (measure > min(max(threshold_otsu(measure[usable]), low), high))
    return tissue


def _without_tint(image: Image.Image) -> Image.Image:
    """Return the image with white glass, if it has glass."""
    glass = np.percentile(np.asarray(image), _GLASS, axis=(0, 1))
    if glass.min() < _MIN_GLASS or np.ptp(glass) > _MAX_TINT:
        return image
    tables = [np.minimum(np.arange(256) * (255 / channel), 255).astype(int).tolist() for channel in glass]
    return image.point([value for table in tables for value in table])


def tissue_fractions(
    tissue: NDArray[np.bool_], x: NDArray[np.floating], y: NDArray[np.floating], width: float, height: float
) -> NDArray[np.float32]:
    """Return the part of each tile that is tissue, (len(y), len(x)).

    Args:
        tissue: The pixels of the mask, (H, W).
        x: Left edges of the columns of tiles, in pixels of the mask.
        y: Top edges of the rows.
        width: Of each tile, in pixels of the mask.
        height: Of each tile.
    """
    sums = np.zeros((tissue.shape[0] + 1, tissue.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(tissue, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    left, right = _edges(x, width, tissue.shape[1])
    top, bottom = _edges(y, height, tissue.shape[0])
    inside = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    areas = (bottom - top)[:, None] * (right - left)[None, :]
    return (inside / areas).astype(np.float32)


def _edges(start: NDArray[np.floating], length: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = np.clip(np.round(start), 0, size - 1).astype(np.int64)
    return first, np.clip(np.round(start + length), first + 1, size).astype(np.int64)
