"""Decode TIFF pages: with Pillow where it reads them rightly, else with tifffile and imagecodecs."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images.arrays import from_samples
from medimageinsight.images.budget import reserve
from medimageinsight.images.raster import pillow
from medimageinsight.images.raster.errors import damaged, decoder_errors, out_of_range, unsupported
from medimageinsight.images.raster.libtiff_messages import silence_libtiff
from medimageinsight.images.raster.tiff_directories import check_tags, count_pages, is_tiff, select_page
from medimageinsight.images.raster.tiff_segments import (
    check_segments,
    decode_segments,
    has_codestreams,
    is_known_compression,
    needed_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

# TIFF 6.0 section 8
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR = 0, 1, 2, 6
_COLOUR_SAMPLES = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _YCBCR: 3}
_NAMES = {
    _WHITE_IS_ZERO: "grey",
    _BLACK_IS_ZERO: "grey",
    _RGB: "RGB",
    3: "palette",
    5: "CMYK",
    _YCBCR: "YCbCr",
    8: "LAB",
}
_UNSIGNED, _VOID = 1, 4  # SampleFormat, TIFF 6.0 section 19
_NUMBERS = (
    "imagewidth",
    "imagelength",
    "imagedepth",
    "samplesperpixel",
    "planarconfig",
    "photometric",
    "compression",
    "rowsperstrip",
    "tilewidth",
    "tilelength",
)
_PILLOW_BITS = (1, 2, 4, 8)

matches = is_tiff


def count_frames(data: bytes, maximum: int) -> int:
    """Return the number of pages, at most ``maximum``."""
    return count_pages(data, maximum)


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one page.

    Pages of 8 bits or less a sample are Pillow's, and so are deep CMYK and LAB. All others, and those that Pillow does
    not decode, are tifffile's: grey and RGB of any depth, integer or float, with or without alpha, which is dropped.

    Raises:
        ImageError: ``image_truncated``, ``image_unsupported``, ``image_too_large``, ``image_frame_out_of_range``,
            ``image_window_not_applicable``.
    """
    selected = select_page(data, frame)
    if selected is None:
        raise out_of_range(frame, count_pages(data, limits.max_frames))
    return decode_first(selected, window=window, limits=limits)


def decode_first(selected: bytes, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode the first page; errors as `decode`."""
    silence_libtiff()
    check_tags(selected)
    page = _read_page(selected)
    if page is None:  # tifffile is stricter about tags that do not matter
        return pillow.decode(selected, frame=0, window=window, limits=limits)
    limits.check_size(page.imagewidth, page.imagelength)
    check_segments(page, len(selected), limits)
    if not _is_pillows(page):
        return _decode_page(selected, page, window, limits)
    try:
        return pillow.decode(selected, frame=0, window=window, limits=limits)
    except ImageError as error:
        if error.code != "image_truncated":
            raise
        return _decode_page(selected, page, window, limits)


def _read_page(data: bytes) -> TiffPage | None:
    """Return the description of the first page; None if tifffile does not read it."""
    import tifffile

    try:
        # Without the kinds of files whose pages tifffile rearranges
        file = tifffile.TiffFile(io.BytesIO(data), is_lsm=False, is_ndpi=False, is_scanimage=False, is_stk=False)
        page = file.pages.first
    except MemoryError:
        raise
    except Exception:  # damaged tags raise anything
        return None
    if not all(isinstance(getattr(page, name), int) for name in _NUMBERS):  # a tag with several values
        raise damaged()
    return page


def _is_pillows(page: TiffPage) -> bool:
    if page.photometric not in _COLOUR_SAMPLES:
        return True
    unsigned = page.sampleformat in (_UNSIGNED, _VOID)
    return unsigned and page.bitspersample in _PILLOW_BITS and not has_codestreams(page)


def _decode_page(data: bytes, page: TiffPage, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    _check_flavour(page)
    unsigned = page.sampleformat in (_UNSIGNED, _VOID)
    with reserve(needed_bytes(page), limits), decoder_errors():
        decoded = from_samples(
            _colour_samples(decode_segments(data, page), page),
            window=window,
            bits=page.bitspersample if unsigned else None,
            inverted=page.photometric == _WHITE_IS_ZERO,
        )
    # upright already, as Pillow's pages are
    upright = dataclasses.replace(decoded, orientation=_orientation(page)).upright()
    return dataclasses.replace(decoded, image=upright)


def _check_flavour(page: TiffPage) -> None:
    """Reject what cannot be displayed as grey or RGB (``image_unsupported``)."""
    name, count = _NAMES.get(page.photometric, f"photometric {int(page.photometric)}"), page.samplesperpixel
    bits = page.bitspersample
    got = f"a TIFF with {count} samples of {bits} bits a pixel ({name})"
    if page.photometric not in _COLOUR_SAMPLES:
        raise unsupported(got)
    colours = _COLOUR_SAMPLES[page.photometric]
    if count < colours or (colours == 1 and count > 2):
        raise unsupported(got, "save the channels as separate grey images, or three of them as RGB")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise unsupported(f"{got}, sample format {page.sampleformat}")
    if page.imagedepth != 1:
        raise unsupported(f"a TIFF of {page.imagedepth} planes in one page", "save each plane as a page")
    if not is_known_compression(page.compression):
        raise unsupported(f"a TIFF with compression {int(page.compression)}", "save it with LZW or Deflate")


def _colour_samples(planes: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Return (H, W) or (H, W, 3) of (separate samples, 1, H, W, contiguous samples)."""
    samples = planes[0, 0] if page.planarconfig == 1 else np.moveaxis(planes[:, 0, :, :, 0], 0, -1)
    return samples[:, :, 0] if _COLOUR_SAMPLES[page.photometric] == 1 else samples[:, :, :3]


def _orientation(page: TiffPage) -> int:
    value = page.tags.valueof(274)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
