"""Decode HEIC and other HEIF files coded with HEVC, by the optional package pillow-heif."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError, missing_extra
from medimageinsight.images.arrays import from_image, from_samples
from medimageinsight.images.budget import reserve
from medimageinsight.images.raster.errors import decoder_errors, out_of_range
from medimageinsight.images.raster.jpeg import colour_of

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

# ISO/IEC 23008-12 annex B and 10.2; AVIF has brands of its own and is Pillow's
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# Bytes of a pixel that libheif and Pillow hold
_PIXEL_BYTES = 20
_DEEP_COLOUR = ("RGB;16", "RGBA;16", "RGBa;16")  # modes of pillow-heif


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as a HEIF file that is not AVIF."""
    if data[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[position : position + 4] for position in range(16, length, 4))}
    return bool(brands & _BRANDS) and not brands & _AVIF_BRANDS


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one image of the file, upright; alpha of more than 8 bits is dropped.

    Raises:
        ImageError: ``image_truncated``, ``image_too_large``, ``image_frame_out_of_range``; ``image_unsupported`` if
            pillow-heif is not installed.
    """
    file = _open(data)
    if frame >= len(file):
        raise out_of_range(frame, len(file))
    width, height = file[frame].size
    limits.check_size(width, height)
    with reserve(width * height * _PIXEL_BYTES, limits), decoder_errors():
        image = file[frame]
        if image.mode in _DEEP_COLOUR:
            return from_samples(colour_of(np.asarray(image)), window=window)
        return from_image(image.to_pillow(), window=window, limits=limits)


def count_frames(data: bytes) -> int:
    """Return the number of images of the file."""
    return len(_open(data))


def _open(data: bytes) -> Any:  # noqa: ANN401 - pillow_heif.HeifFile; pillow-heif is optional
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(missing_extra("heic", "a HEIC image").message, code="image_unsupported") from None
    with decoder_errors():
        return pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
