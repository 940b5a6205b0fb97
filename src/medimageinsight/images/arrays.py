"""Convert arrays, and images deeper than 8 bits, to 8-bit Pillow images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import WINDOW_NOT_APPLIED, DecodedImage
from medimageinsight.images.eight_bit import map_distinct_values
from medimageinsight.images.grey import grey_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection


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
    windowed = array.ndim == 2 and array.dtype not in (np.uint8, np.bool_)
    pixels = _to_uint8(array, window if windowed else None)
    return DecodedImage(
        image=Image.fromarray(np.ascontiguousarray(pixels)),
        warnings=(WINDOW_NOT_APPLIED,) if window and not windowed else (),
    )


def reduce_depth(image: Image.Image, window: WindowSelection | None) -> DecodedImage:
    """Return the image unchanged if it has 8 bits a channel, else in mode L, its minimum..maximum as 0..255."""
    if image.mode.startswith(("I", "F")):  # also I;16, I;16B, ...
        return DecodedImage(image=Image.fromarray(_to_uint8(np.asarray(image), window)))
    return DecodedImage(image=image, warnings=(WINDOW_NOT_APPLIED,) if window else ())


def _to_uint8(array: NDArray[Any], window: WindowSelection | None) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError(
            "expected finite pixel values, got NaN or infinity: replace them with numbers first",
            code="image_not_finite",
        )
    if array.dtype.kind not in "iuf":
        raise ImageError(
            f"expected an array of integers, floats or booleans, got dtype {array.dtype}", code="image_bad_dtype"
        )
    return map_distinct_values(array, grey_mapping(array, window))


def _shape_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return ": move the channels to the last axis"
    if len(shape) == 4:
        return ": pass the images of a batch as a list"
    return ""
