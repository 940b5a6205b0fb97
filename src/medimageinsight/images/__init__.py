"""Decode any image source, and convert it to 8-bit RGB.

from medimageinsight import images

pixels = images.load("chest.dcm")                 # (H, W, 3) uint8 RGB, upright
pixels = images.load("ct.dcm", window="lung")     # or "40/400", an index of the file's windows, "1%-99%"
decoded = images.open("stack.tif", frame=3)       # DecodedImage in its own Pillow mode
"""

from __future__ import annotations

from medimageinsight._lazy import lazy_exports
from medimageinsight.images.data_uri import decode_base64, is_data_uri
from medimageinsight.images.decoded import DecodedImage, FramesUnused, ImageWarning, to_rgb
from medimageinsight.images.deferred import DeferredImage, HeaderSource, ImageGroup
from medimageinsight.images.limits import Limits
from medimageinsight.images.source import (
    Source,
    count_frames,
    is_dataset,
    is_single,
    list_windows,
    load,
    open,  # noqa: A004 - images.open reads well
    read_source,
    read_values,
)
from medimageinsight.images.window import PRESETS, ListedWindow, WindowLike, WindowSelection, parse_window

__all__ = [
    "PRESETS",
    "DecodedImage",
    "DeferredImage",
    "FramesUnused",
    "HeaderSource",
    "ImageGroup",
    "ImageWarning",
    "Limits",
    "ListedWindow",
    "Source",
    "WindowLike",
    "WindowSelection",
    "count_frames",
    "decode_base64",
    "is_data_uri",
    "is_dataset",
    "is_single",
    "list_windows",
    "load",
    "open",
    "parse_window",
    "read_source",
    "read_values",
    "to_rgb",
]

__getattr__, __dir__ = lazy_exports(__name__, __all__, {})
