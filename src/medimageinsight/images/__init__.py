"""Any image source to a decoded picture, and from there to 8-bit RGB.

from medimageinsight import images

pixels = images.load("chest.dcm")                 # (H, W, 3) uint8 RGB, upright
picture = images.open("stack.tif", frame=3)       # the decoded picture in its own Pillow mode
"""

from __future__ import annotations

from medimageinsight.images.decoded import DecodedImage, to_rgb
from medimageinsight.images.encoded import decode_base64, is_data_uri
from medimageinsight.images.limits import Limits
from medimageinsight.images.source import (
    Source,
    count_frames,
    is_dataset,
    is_single,
    load,
    open,  # noqa: A004 - images.open reads well
    read_source,
)

__all__ = [
    "DecodedImage",
    "Limits",
    "Source",
    "count_frames",
    "decode_base64",
    "is_data_uri",
    "is_dataset",
    "is_single",
    "load",
    "open",
    "read_source",
    "to_rgb",
]
