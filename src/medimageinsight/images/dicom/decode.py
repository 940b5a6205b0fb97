"""Render one frame of a DICOM dataset as an 8-bit image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import WINDOW_NOT_APPLIED, DecodedImage
from medimageinsight.images.dicom.grey_transforms import grey_transforms
from medimageinsight.images.dicom.lookup_tables import read_palette
from medimageinsight.images.dicom.maps import check_not_map
from medimageinsight.images.dicom.monochrome import render_grey
from medimageinsight.images.dicom.pixel_data import decode_pixel_data
from medimageinsight.images.dicom.transfer_syntax import transfer_syntax
from medimageinsight.images.eight_bit import map_distinct_values, scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images.dicom.lookup_tables import LookupTable
    from medimageinsight.images.dicom.stored_pixels import StoredPixels
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection


def decode(dataset: Dataset, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame as a viewer shows it first.

    Monochrome frames go through the modality LUT or rescale, then the selected or the first usable VOI LUT or window,
    then the inversion of MONOCHROME1; without a usable window, the frame's range without padding is shown. Overlays are
    not drawn.

    Returns:
        An image of mode L, or RGB for colour, with a warning for each defect that did not prevent its display.

    Raises:
        ImageError: As `decode_pixel_data`; ``image_unsupported`` for another photometric interpretation,
            ``image_is_map`` unless ``limits.accept_maps``, ``image_window_not_applicable``.
    """
    if not limits.accept_maps:
        check_not_map(dataset)
    stored = decode_pixel_data(dataset, frame=frame, limits=limits)
    big_endian = not transfer_syntax(dataset).is_little_endian
    bounds = _bounds(stored)
    warnings = stored.warnings
    if stored.photometric in ("MONOCHROME1", "MONOCHROME2"):
        transforms = grey_transforms(dataset, frame, bounds=bounds, big_endian=big_endian)
        pixels = render_grey(stored.values, transforms, window)
        warnings += transforms.warnings
    else:
        if stored.photometric == "PALETTE COLOR":
            pixels = _apply_palette(stored.values, read_palette(dataset, bounds=bounds, big_endian=big_endian))
        elif stored.photometric == "RGB":
            pixels = _rgb_to_uint8(stored.values, stored.bits)
        else:
            raise _unsupported(stored.photometric)
        warnings += () if window is None else (WINDOW_NOT_APPLIED,)
    return DecodedImage(image=Image.fromarray(np.ascontiguousarray(pixels)), warnings=warnings)


def _bounds(stored: StoredPixels) -> tuple[float, float]:
    """Return the smallest and largest possible stored value."""
    if stored.values.dtype.kind == "f":
        return -math.inf, math.inf
    if stored.values.dtype.kind == "i":
        return -(1 << stored.bits - 1), (1 << stored.bits - 1) - 1
    return 0, (1 << stored.bits) - 1


def modality_values(dataset: Dataset, *, frame: int, limits: Limits) -> NDArray[Any]:
    """Return the values (H, W) of a monochrome frame after the modality transformation, Hounsfield units for CT.

    Raises:
        ImageError: As `decode_pixel_data`; ``image_unsupported`` for colour.
    """
    stored = decode_pixel_data(dataset, frame=frame, limits=limits)
    if stored.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise _unsupported(stored.photometric)
    big_endian = not transfer_syntax(dataset).is_little_endian
    transforms = grey_transforms(dataset, frame, bounds=_bounds(stored), big_endian=big_endian)
    return transforms.modality(stored.values)


def _apply_palette(indices: NDArray[Any], palette: list[LookupTable]) -> NDArray[np.uint8]:
    """Return RGB (H, W, 3) of indices (H, W)."""
    result = np.empty((*indices.shape, 3), np.uint8)
    for channel, table in enumerate(palette):
        result[..., channel] = map_distinct_values(indices, table)
    return result


def _rgb_to_uint8(stored: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Reduce RGB (H, W, 3) of ``bits`` bits a sample to 8 bits a sample."""
    if bits == 8 and stored.dtype == np.uint8:
        return stored
    return map_distinct_values(stored, lambda values: scale_to_uint8(values, 0, (1 << bits) - 1))


def _unsupported(photometric: str) -> ImageError:
    from pydicom.pixels.common import PhotometricInterpretation

    # Only a term of the standard is reported, never the text of the file.
    name = photometric if photometric in PhotometricInterpretation.__members__ else "a non-standard term"
    return ImageError(
        f"expected a photometric interpretation of monochrome, palette, RGB or YBR_FULL, got {name}",
        code="image_unsupported",
    )
