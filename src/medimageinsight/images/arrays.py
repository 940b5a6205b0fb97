"""Convert arrays of any depth to 8-bit Pillow images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import WINDOW_NOT_APPLIED, DecodedImage, ImageWarning
from medimageinsight.images.eight_bit import map_distinct_values
from medimageinsight.images.grey import ValueRange, grey_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

DEEP_MODES = ("I", "F")
"""Beginnings of the Pillow modes of more than 8 bits: also I;16, I;16B, ..."""


def from_array(array: NDArray[Any], *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Return an image in mode L, RGB or RGBA.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA. uint8 is used unchanged and bool as 0 and 255; other
            integers and floats are mapped from the array's minimum..maximum to 0..255, a constant array to 0.
        window: The range to display instead.
        limits: Bounds on the image size.

    Raises:
        ImageError: ``image_bad_shape``, ``image_bad_dtype``, ``image_not_finite``, ``image_too_large``,
            ``image_window_not_applicable``.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            f"expected an array of shape (height, width), (height, width, 3) or (height, width, 4), got {array.shape}"
            f"{_shape_advice(array.shape)}",
            code="image_bad_shape",
        )
    limits.check_size(array.shape[1], array.shape[0])
    if array.dtype.kind == "f" and not np.isfinite([array.min(), array.max()]).all():
        raise _not_finite("NaN or infinity")
    return from_samples(array, window=window)


def from_image(image: Image.Image, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Return the image unchanged if it has 8 bits a channel, else in mode L as `from_array` maps its values."""
    if image.mode.startswith(DEEP_MODES):
        return from_array(np.asarray(image), window=window, limits=limits)
    return DecodedImage(image=image, warnings=_not_windowed(window))


def from_samples(
    samples: NDArray[Any], *, window: WindowSelection | None, bits: int | None = None, inverted: bool = False
) -> DecodedImage:
    """Return the image of a file's samples, in mode L, RGB or RGBA.

    Args:
        samples: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, mapped as by `from_array`. NaN is background, as in
            DICOM: it becomes 0 and, like infinity, does not count for the range.
        window: The range of grey values to display instead of their minimum..maximum.
        bits: Bits of a sample in the file; up to 8, unsigned values are mapped from 0..2**bits-1 to 0..255.
        inverted: Whether the smallest value is white.

    Raises:
        ImageError: ``image_bad_dtype``, ``image_window_not_applicable``, ``image_not_finite`` where no value is finite.
    """
    windowed = samples.ndim == 2 and samples.dtype not in (np.uint8, np.bool_)
    pixels = _to_uint8(samples, window if windowed else None, bits)
    del samples  # frees the memory of an array that nobody else holds, before Pillow copies colour
    if inverted:
        pixels = np.subtract(255, pixels, dtype=np.uint8)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return DecodedImage(image=image, warnings=() if windowed else _not_windowed(window))


def image_bytes(channels: int) -> int:
    """Return the bytes of a pixel that `from_samples` needs besides deep samples; it drops their alpha."""
    return 1 if channels <= 2 else 3


def _not_windowed(window: WindowSelection | None) -> tuple[ImageWarning, ...]:
    return () if window is None else (WINDOW_NOT_APPLIED,)


def _to_uint8(samples: NDArray[Any], window: WindowSelection | None, bits: int | None) -> NDArray[np.uint8]:
    if samples.dtype == np.uint8:
        if bits is None or bits == 8:
            return samples
        return map_distinct_values(samples, ValueRange(low=0, high=(1 << bits) - 1))
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    if samples.dtype.kind not in "iuf":
        raise ImageError(
            f"expected an array of integers, floats or booleans, got dtype {samples.dtype}", code="image_bad_dtype"
        )
    finite = samples
    if samples.dtype.kind == "f" and not np.isfinite([samples.min(), samples.max()]).all():
        finite = samples[np.isfinite(samples)]
        if not finite.size:
            raise _not_finite("NaN or infinity alone")
    return map_distinct_values(samples, grey_mapping(finite, window))


def _shape_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return ": move the channels to the last axis"
    if len(shape) == 4:
        return ": pass the images of a batch as a list"
    return ""


def _not_finite(got: str) -> ImageError:
    return ImageError(
        f"expected finite pixel values, got {got}: replace them with numbers first", code="image_not_finite"
    )
