"""One frame of a DICOM dataset to an 8-bit picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.colour import render_palette, render_rgb
from medimageinsight.images.dicom.grey import grey_rules, render_grey
from medimageinsight.images.dicom.luts import palette_of
from medimageinsight.images.dicom.pixels import stored_pixels, transfer_syntax
from medimageinsight.images.grey import by_level

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.images.limits import Limits


def decode(dataset: Dataset, *, frame: int, limits: Limits) -> Image.Image:
    """Decode one frame as a viewer would show it first.

    Monochrome frames go through the modality LUT or rescale, then the first VOI LUT or window, then the inversion of
    MONOCHROME1; without a usable window, the frame's own range without padding is shown. Overlays are not drawn.

    Returns:
        A picture of mode L, or RGB for colour.

    Raises:
        ImageError: see `stored_pixels`.
    """
    stored = stored_pixels(dataset, frame=frame, limits=limits)
    big_endian = not transfer_syntax(dataset).is_little_endian
    if stored.photometric in ("MONOCHROME1", "MONOCHROME2"):
        rules = grey_rules(dataset, frame, big_endian=big_endian)
        pixels = by_level(stored.values, lambda levels: render_grey(levels, rules))
    elif stored.photometric == "PALETTE COLOR":
        pixels = render_palette(stored.values, *palette_of(dataset, big_endian=big_endian))
    elif stored.photometric == "RGB":
        pixels = render_rgb(stored.values, stored.bits)
    else:
        raise ImageError(
            "expected a photometric interpretation of monochrome, palette, RGB or YBR_FULL, got another one",
            code="image_unsupported",
        )
    return Image.fromarray(np.ascontiguousarray(pixels))
