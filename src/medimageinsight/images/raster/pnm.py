"""Decode PPM files of more than 8 bits a channel, which Pillow reduces to 8 bits by their maximum."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.images.arrays import from_samples, image_bytes
from medimageinsight.images.budget import reserve
from medimageinsight.images.raster.errors import damaged

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

_SEPARATOR = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([36])" + _SEPARATOR + (rb"0*(\d{1,9})" + _SEPARATOR) * 2 + rb"0*(\d{1,5})\s")
_MAX_HEADER = 4096


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as a PPM file with a maximum above 255."""
    header = _HEADER.match(data, 0, _MAX_HEADER)
    return header is not None and 255 < int(header[4]) < 65536


def decode(data: bytes, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode a PPM file with a maximum above 255."""
    header = _HEADER.match(data, 0, _MAX_HEADER)
    assert header is not None  # noqa: S101 - as `matches` found
    width, height = int(header[2]), int(header[3])
    limits.check_size(width, height)
    count = width * height * 3
    with reserve(count * 2 + width * height * image_bytes(3), limits):
        try:
            if header[1] == b"6":
                samples = np.frombuffer(data, ">u2", count, header.end())
            else:
                samples = np.fromstring(data[header.end() :], np.uint16, sep=" ")[:count]
            return from_samples(samples.reshape(height, width, 3), window=window)
        except (ValueError, DeprecationWarning):  # fewer samples, or text that is no number
            raise damaged() from None
