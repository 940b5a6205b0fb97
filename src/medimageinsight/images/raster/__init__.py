"""Decode image files that are not DICOM: Pillow for 8 bits a channel, imagecodecs and tifffile for deeper pixels."""

from medimageinsight.images.raster.formats import count_frames, decode, is_image
from medimageinsight.images.raster.pillow import decode_opened, not_opened
from medimageinsight.images.raster.sequences import DecodeFrame, open_frames

__all__ = ["DecodeFrame", "count_frames", "decode", "decode_opened", "is_image", "not_opened", "open_frames"]
