"""Decode image files with Pillow: an allow-list of formats, size checked before decoding, complete or an error."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.arrays import DEEP_MODES, from_image
from medimageinsight.images.budget import reserve
from medimageinsight.images.decoded import exif_orientation
from medimageinsight.images.raster.errors import damaged, decoder_errors, out_of_range

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "AVIF")
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
    b"BM",
    b"GIF87a",
    b"GIF89a",
    b"\xff\x4f\xff\x51",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n",
)
_CONTAINERS = (b"RIFFWEBP", b"ftypavif", b"ftypavis")
_VIDEO_SIGNATURES = (b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")  # Matroska, MPEG
_VIDEO_BRANDS = tuple(b"ftyp" + brand for brand in (b"iso", b"mp4", b"avc", b"qt", b"M4V", b"3g", b"dash", b"MSNV"))
# Formats whose frames are decoded on top of each other: the n-th needs all before it
SEQUENTIAL = ("AVIF", "GIF", "PNG", "WEBP")
# Bytes of a pixel, measured by benchmarks/decoding.py: in Pillow's image, for the modes that do not have 4; in the
# decoder besides it; and of the frames before the chosen one
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_DECODER_BYTES = {"AVIF": 8, "JPEG": 6, "MPO": 6, "JPEG2000": 16, "WEBP": 13}
_WALK_BYTES = 14


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame of a PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM or AVIF file.

    Raises:
        ImageError: ``image_not_an_image``, ``image_truncated``, ``image_unsupported``, ``image_too_large``,
            ``image_frame_out_of_range``, ``image_not_finite``.
    """
    return decode_opened(open_file(data), frame=frame, window=window, limits=limits)


def open_file(data: bytes) -> Image.Image:
    """Open a file of one of the accepted formats; nothing is decoded.

    Raises:
        ImageError: ``image_not_an_image``, ``image_is_video``, ``image_truncated``.
    """
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # UnidentifiedImageError, and whatever a plug-in raises for half a header
        raise not_opened(data, len(data)) from None


def begins_as_image(beginning: bytes) -> bool:
    """Return whether bytes are the first of a file of one of the accepted formats."""
    container = beginning[:4] + beginning[8:12] if beginning[:4] == b"RIFF" else beginning[4:12]
    is_pnm = beginning[:1] == b"P" and beginning[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"f", b"y")
    return is_pnm or beginning.startswith(_SIGNATURES) or container in _CONTAINERS


def count_frames(data: bytes) -> int:
    """Return the number of pages or frames of a file; raises what Pillow raises for a damaged one."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return int(getattr(image, "n_frames", 1))


def decode_opened(
    image: Image.Image, *, frame: int, window: WindowSelection | None, limits: Limits, copy: bool = False
) -> DecodedImage:
    """Decode one frame of an opened image, within limits; an image already in memory is not changed.

    With `copy`, the result does not change when the opened image goes on to another frame.
    """
    limits.check_size(*image.size)
    if image.format in SEQUENTIAL:
        limits.check_walk(frame, *image.size)
    with reserve(_needed_bytes(image, frame), limits):
        decoded = _decode_opened(image, frame, window, limits)
        return dataclasses.replace(decoded, image=decoded.image.copy()) if copy else decoded


def _decode_opened(image: Image.Image, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    with decoder_errors():
        try:
            if frame:
                image.seek(frame)
                limits.check_size(*image.size)  # pages of a file may differ in size
            image.load()
        except EOFError:
            raise out_of_range(frame, getattr(image, "n_frames", 1)) from None
    return dataclasses.replace(from_image(image, window=window, limits=limits), orientation=exif_orientation(image))


def not_opened(beginning: bytes, size: int) -> ImageError:
    """Return the error for a file of a number of bytes that no plug-in opens."""
    if size == 0:
        return ImageError("expected an image, got an empty file", code="image_empty")
    container = beginning[:4] + beginning[8:12] if beginning[:4] == b"RIFF" else beginning[4:12]
    if beginning.startswith(_SIGNATURES) or container in _CONTAINERS:
        return damaged()
    if beginning.startswith(_VIDEO_SIGNATURES) or container == b"RIFFAVI " or container.startswith(_VIDEO_BRANDS):
        return ImageError(
            "expected an image, got a video: extract its frames as images with a video tool", code="image_is_video"
        )
    return ImageError(
        "expected a DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP, AVIF, HEIC, JPEG 2000, JPEG-LS, JPEG XL or PNM image, "
        f"got a file of another kind ({size:,} bytes)",
        code="image_not_an_image",
    )


def _needed_bytes(image: Image.Image, frame: int) -> int:
    pixel = _PIXEL_BYTES.get(image.mode, 4)
    if image.format is not None:  # else the image is in memory
        pixel += _DECODER_BYTES.get(image.format, 0) + (_WALK_BYTES if frame else 0)
    if image.mode.startswith(DEEP_MODES):  # an array, made of parts, and 8 bits
        pixel += 2 * _PIXEL_BYTES.get(image.mode, 4) + 1
    return image.width * image.height * pixel
