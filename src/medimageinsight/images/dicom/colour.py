"""Decide on the colour space of three samples, and convert YCbCr to RGB (PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.images.codestreams import Codestream, Coding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RGB_IDS = ((ord("R"), ord("G"), ord("B")), (ord("r"), ord("g"), ord("b")))
_JFIF_IDS = (1, 2, 3)
_LUMINANCE_RANGE = 219  # of YBR_PARTIAL of 8 bits: 16 to 235; its chrominance has 16 to 240
_CHROMINANCE_RANGE = 224


def is_ybr(photometric: str) -> bool:
    """Return whether the photometric interpretation is of luminance and chrominance that no decoder converts."""
    # YBR_ICT and YBR_RCT name a step inside JPEG 2000, which its decoder undoes
    return photometric.startswith("YBR_") and photometric not in ("YBR_ICT", "YBR_RCT")


def codestream_is_ybr(codestream: Codestream, photometric: str) -> bool:
    """Return whether a decoded codestream of three components is YCbCr.

    Its own statement counts more than the header's: the names of its components, a JFIF or an Adobe marker. Lossy JPEG
    with neither is YCbCr where its components are numbered as in JFIF, which is what encoders write that convert the
    colours, or where they differ in resolution.
    """
    if codestream.coding is Coding.JPEG_2000:
        return is_ybr(photometric) and not codestream.subsampled  # which its decoder converts
    if codestream.component_ids in _RGB_IDS:
        return False
    if codestream.jfif:
        return True
    if codestream.adobe_transform is not None:
        return codestream.adobe_transform != 0
    if codestream.coding is Coding.JPEG and (codestream.subsampled or codestream.component_ids == _JFIF_IDS):
        return True
    return photometric.startswith("YBR_")


def ybr_to_rgb(values: NDArray[Any], *, bits: int = 8, partial: bool = False) -> NDArray[Any]:
    """Convert YCbCr (H, W, 3) of ``bits`` bits a sample to RGB; ``partial`` is the range of digital video."""
    if bits <= 8 and not partial:
        from pydicom.pixels.processing import convert_color_space

        converted: NDArray[Any] = convert_color_space(np.array(values), "YBR_FULL", "RGB")
        return converted
    maximum = (1 << bits) - 1
    middle = 1 << (bits - 1)
    luminance = values[..., 0].astype(np.float32)
    blue, red = (values[..., index].astype(np.float32) - middle for index in (1, 2))
    if partial:
        luminance = (luminance - (middle >> 3)) * (255 / _LUMINANCE_RANGE)
        blue, red = (chrominance * (255 / _CHROMINANCE_RANGE) for chrominance in (blue, red))
    rgb = np.stack(
        [luminance + 1.402 * red, luminance - 0.344136 * blue - 0.714136 * red, luminance + 1.772 * blue], axis=-1
    )
    rounded: NDArray[Any] = np.clip(np.rint(rgb), 0, maximum).astype(values.dtype)
    return rounded
