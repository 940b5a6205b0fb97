"""Decode PNG files with 16 bits a channel, which Pillow reduces to the high byte unless they are plain grey."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

from medimageinsight.images.arrays import from_samples, image_bytes
from medimageinsight.images.budget import reserve
from medimageinsight.images.decoded import exif_orientation
from medimageinsight.images.raster import pillow
from medimageinsight.images.raster.errors import decoder_errors
from medimageinsight.images.raster.jpeg import colour_of

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

_SIGNATURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # of a colour type, PNG specification 11.2.1


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as a PNG file of 16 bits a channel."""
    return data.startswith(_SIGNATURE) and data[24:25] == b"\x10"


def decode(data: bytes, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode a PNG file of 16 bits a channel; an alpha channel is dropped."""
    import imagecodecs

    width, height = struct.unpack_from(">II", data, len(_SIGNATURE))
    limits.check_size(width, height)
    orientation = exif_orientation(pillow.open_file(data))
    channels = _CHANNELS.get(data[25], 4)
    with reserve(width * height * (channels * 2 + image_bytes(channels)), limits), decoder_errors():
        decoded = from_samples(colour_of(imagecodecs.png_decode(data)), window=window)
    return dataclasses.replace(decoded, orientation=orientation)
