"""Decode image files that are not DICOM: Pillow for 8 bits a channel, imagecodecs and tifffile for deeper pixels."""

from medimageinsight.images.raster.formats import count_frames, decode
from medimageinsight.images.raster.pillow import decode_opened

__all__ = ["count_frames", "decode", "decode_opened"]
