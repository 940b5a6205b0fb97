"""Decode AVIF files of 10 or 12 bits, which Pillow reduces to 8."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from medimageinsight.images.arrays import from_samples, image_bytes
from medimageinsight.images.budget import reserve
from medimageinsight.images.decoded import exif_orientation
from medimageinsight.images.raster import pillow
from medimageinsight.images.raster.errors import decoder_errors, out_of_range
from medimageinsight.images.raster.jpeg import colour_of

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

_BRANDS = (b"ftypavif", b"ftypavis")
_CONFIGURATION = b"av1C"  # AV1 Codec ISO Media File Format Binding 2.3.3
_HIGH_BIT_DEPTH = 0x40  # in its third byte
_MAX_HEADER = 1 << 16
# Bytes of a pixel that libavif holds: planes of 16 bits, and RGBA
_DECODER_BYTES = 16


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as an AVIF file of more than 8 bits a channel."""
    if data[4:12] not in _BRANDS:
        return False
    start = data.find(_CONFIGURATION, 0, _MAX_HEADER)
    return start >= 0 and len(data) > start + 6 and bool(data[start + 6] & _HIGH_BIT_DEPTH)


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame; an alpha channel is dropped.

    Raises:
        ImageError: ``image_truncated``, ``image_too_large``, ``image_frame_out_of_range``,
            ``image_window_not_applicable``.
    """
    import imagecodecs

    image = pillow.open_file(data)
    count = getattr(image, "n_frames", 1)
    if frame >= count:
        raise out_of_range(frame, count)
    limits.check_size(*image.size)
    limits.check_walk(frame, *image.size)
    with reserve(image.width * image.height * (_DECODER_BYTES + image_bytes(3)), limits), decoder_errors():
        decoded = from_samples(colour_of(imagecodecs.avif_decode(data, index=frame, numthreads=1)), window=window)
    return dataclasses.replace(decoded, orientation=exif_orientation(image))
