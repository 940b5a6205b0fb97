"""Render one frame of a DICOM dataset as an 8-bit image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import DecodedImage
from medimageinsight.images.dicom.lookup_tables import read_palette
from medimageinsight.images.dicom.monochrome import grey_transforms, render_grey
from medimageinsight.images.dicom.pixel_data import decode_pixel_data, transfer_syntax
from medimageinsight.images.eight_bit import map_distinct_values, scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection


def decode(dataset: Dataset, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame as a viewer shows it first.

    Monochrome frames go through the modality LUT or rescale, then the first VOI LUT or window, then the inversion of
    MONOCHROME1; without a usable window, the frame's range without padding is shown. Overlays are not drawn.

    Returns:
        An image of mode L, or RGB for colour.

    Raises:
        ImageError: As `decode_pixel_data`; ``image_unsupported`` for another photometric interpretation.
    """
    stored = decode_pixel_data(dataset, frame=frame, limits=limits)
    big_endian = not transfer_syntax(dataset).is_little_endian
    if stored.photometric in ("MONOCHROME1", "MONOCHROME2"):
        transforms = grey_transforms(dataset, frame, big_endian=big_endian)
        pixels = map_distinct_values(stored.values, lambda values: render_grey(values, transforms))
    elif stored.photometric == "PALETTE COLOR":
        first, palette = read_palette(dataset, big_endian=big_endian)
        # Indices outside the palette are mapped to its nearest end (PS3.3 C.7.6.3.1.5).
        pixels = palette[np.clip(stored.values.astype(np.int64) - first, 0, len(palette) - 1)]
    elif stored.photometric == "RGB":
        pixels = _rgb_to_uint8(stored.values, stored.bits)
    else:
        raise _unsupported(stored.photometric)
    return DecodedImage(image=Image.fromarray(np.ascontiguousarray(pixels)), warnings=())


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
