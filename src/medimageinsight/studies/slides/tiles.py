"""The tiles of a slide: their positions, and a lazy sequence of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, overload

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images import DecodedImage
from medimageinsight.images.decoded import WINDOW_NOT_APPLIED
from medimageinsight.studies.slides.options import MAX_TILE_PIXELS
from medimageinsight.studies.slides.regions import read_scaled
from medimageinsight.studies.slides.resolution import find_resolution
from medimageinsight.studies.slides.tissue import find_tissue, tissue_fractions
from medimageinsight.studies.study_image import StudyImage
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import Limits, WindowSelection
    from medimageinsight.studies.origin import Origin, Region
    from medimageinsight.studies.slides.handles import SlideHandle
    from medimageinsight.studies.slides.options import SlideOptions
    from medimageinsight.studies.slides.pyramid import Pyramid

_NEAR = 0.05  # of the wanted resolution: a level is used as it is
_SQUARE = 0.01  # between the two directions
_MASK_PIXELS = 16  # of a tile's side in the mask
_MAX_MASK = 4096
_MAX_GRID = 100  # times the allowed number of tiles: before the tissue is known


@dataclass(frozen=True, eq=False)
class SlideTiles(Sequence[StudyImage]):
    """The tiles of a slide, row by row, decoded when they are read.

    Args:
        origin: The slide's file.
        handle: The slide.
        corners: Left and top edge of each tile in pixels of the highest resolution, (N, 2).
        size: Width and height of all tiles, likewise.
        microns_per_pixel: At which they are read; None is the highest resolution.
    """

    origin: Origin
    handle: SlideHandle
    corners: NDArray[np.int64]
    size: tuple[int, int]
    microns_per_pixel: float | None

    def __len__(self) -> int:
        return len(self.corners)

    @overload
    def __getitem__(self, index: int) -> StudyImage: ...
    @overload
    def __getitem__(self, index: slice) -> SlideTiles: ...
    def __getitem__(self, index: int | slice) -> StudyImage | SlideTiles:
        if isinstance(index, slice):
            return replace(self, corners=self.corners[index])
        x, y = self.corners[index].tolist()
        return make_tile(
            self.handle, replace(self.origin, region=(x, y, *self.size), microns_per_pixel=self.microns_per_pixel)
        )


def make_tile(handle: SlideHandle, origin: Origin) -> StudyImage:
    """Return the image of an origin with a region."""
    return StudyImage(origin=origin, read=partial(_read_tile, handle, origin))


def _read_tile(handle: SlideHandle, origin: Origin, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    region = origin.region or (0, 0, 0, 0)
    with handle.use() as pyramid:
        size = _tile_size(pyramid, region, origin.microns_per_pixel)
        limits.check_size(*size)
        image = read_scaled(pyramid, region, size)
    return DecodedImage(image=image, warnings=() if window is None else (WINDOW_NOT_APPLIED,))


def _tile_size(pyramid: Pyramid, region: Region, microns_per_pixel: float | None) -> tuple[int, int]:
    """Return the width and height of a region's image at a resolution.

    Raises:
        ImageError: ``slide_region_invalid``.
    """
    width, height = region[2:]
    resolution, _ = find_resolution(pyramid)
    if microns_per_pixel is not None and resolution is not None:
        width, height = (
            round(side * own / microns_per_pixel) for side, own in zip(region[2:], resolution, strict=True)
        )
    full = pyramid.levels[0]
    if not (region[0] < full.width and region[1] < full.height) or not 1 <= max(width, height) <= MAX_TILE_PIXELS:
        raise ImageError(
            f"expected a region within the slide of at most {MAX_TILE_PIXELS:,} pixels a side, got another: "
            "copy the origin from a result",
            code="slide_region_invalid",
        )
    return max(1, width), max(1, height)


def find_tiles(
    origin: Origin, handle: SlideHandle, options: SlideOptions, limits: Limits
) -> tuple[SlideTiles, tuple[StudyWarning, ...]]:
    """Return the tiles of a slide that have tissue, and warnings.

    Tiles begin at the upper left corner. The last of a row or column are moved inwards to end with the slide, so that
    no pixel is invented; a slide smaller than a tile is one tile, whatever it has.

    Raises:
        ImageError: ``slide_no_tissue``, ``slide_too_large``, or as `open_pyramid`.
    """
    with handle.use() as pyramid:
        full = pyramid.levels[0]
        resolution, warnings = find_resolution(pyramid)
        warnings = (*pyramid.warnings, *warnings)
        target, factors = _choose_resolution(pyramid, resolution, options.microns_per_pixel)
        if resolution is not None and target is None:
            text = f"the slide has {min(resolution):g} µm per pixel, less than the resolution that was asked for"
            warnings = (*warnings, StudyWarning("slide_resolution_lower", f"{text}: its highest was used"))
        size = tuple(
            min(extent, max(1, round(options.tile_pixels * factor)))
            for extent, factor in zip((full.width, full.height), factors, strict=True)
        )
        steps = [max(1.0, (options.tile_pixels - options.overlap) * factor) for factor in factors]
        x, y = _starts(full.width, size[0], steps[0]), _starts(full.height, size[1], steps[1])
        _check_count(len(x) * len(y), limits.max_frames * _MAX_GRID)
        rows, columns = np.divmod(np.arange(len(x) * len(y)), len(x))
        if options.min_tissue and len(rows) > 1:
            fractions, damaged = _measure_tissue(pyramid, x, y, (size[0], size[1]))
            chosen = np.flatnonzero(fractions.ravel() >= options.min_tissue)
            if damaged:
                text = "parts of the slide's overview cannot be decoded and were taken for glass"
                warnings = (*warnings, StudyWarning("slide_overview_damaged", text))
            rows, columns = rows[chosen], columns[chosen]
    if not len(rows):
        raise ImageError(
            "expected a slide with tissue, got one without: check its stain and focus, or use all tiles with tissue=0",
            code="slide_no_tissue",
        )
    _check_count(len(rows), limits.max_frames)
    corners = np.stack([x[columns], y[rows]], axis=1)
    return SlideTiles(origin, handle, corners, (size[0], size[1]), target), warnings


def _choose_resolution(
    pyramid: Pyramid, resolution: tuple[float, float] | None, wanted: float
) -> tuple[float | None, tuple[float, float]]:
    """Return the microns per pixel of the tiles, None for the highest resolution, and its pixels for one of theirs.

    A level within five per cent of the wanted resolution is used as it is.
    """
    if resolution is None:
        return None, (1.0, 1.0)
    if abs(resolution[0] / resolution[1] - 1) < _SQUARE:
        own = sum(resolution) / 2
        level = min(pyramid.levels, key=lambda level: abs(own * level.downsample - wanted))
        if abs(own * level.downsample / wanted - 1) < _NEAR:
            return _six_digits(own * level.downsample), (level.downsample, level.downsample)
    if min(resolution) > wanted:
        return None, (1.0, 1.0)
    return wanted, (wanted / resolution[0], wanted / resolution[1])


def _six_digits(value: float) -> float:
    """Return the number that an origin states."""
    return float(f"{value:g}")


def _starts(extent: int, size: int, step: float) -> NDArray[np.int64]:
    """Return the left edges of the tiles along an axis; the last ends with the slide."""
    count = 1 + int(np.ceil((extent - size) / step - 1e-9))
    starts: NDArray[np.int64] = np.minimum(np.round(np.arange(count) * step), extent - size).astype(np.int64)
    return starts


def _check_count(count: int, maximum: int) -> None:
    if count > maximum:
        raise ImageError(
            f"expected at most {maximum:,} tiles of a slide, got {count:,}: "
            "choose larger tiles, more microns per pixel, less overlap or more tissue",
            code="slide_too_large",
        )


def _measure_tissue(
    pyramid: Pyramid, x: NDArray[np.int64], y: NDArray[np.int64], size: tuple[int, int]
) -> tuple[NDArray[np.float32], bool]:
    """Return the part of each tile that is tissue, (rows, columns), and whether parts of the slide are damaged."""
    full = pyramid.levels[0]
    wanted = round(max(full.width, full.height) / max(size) * _MASK_PIXELS)
    scale = min(max(wanted, 256), _MAX_MASK, max(full.width, full.height)) / max(full.width, full.height)
    mask_size = (max(1, round(full.width * scale)), max(1, round(full.height * scale)))
    damaged: list[int] = []
    image = read_scaled(pyramid, (0, 0, full.width, full.height), mask_size, damaged=damaged)
    across, down = mask_size[0] / full.width, mask_size[1] / full.height
    tissue = find_tissue(image)
    return tissue_fractions(tissue, x * across, y * down, size[0] * across, size[1] * down), bool(damaged)
