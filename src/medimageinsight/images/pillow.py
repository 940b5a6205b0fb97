"""Decode image files with Pillow: an allow-list of formats, size checked before decoding, complete or an error."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.arrays import reduce_depth
from medimageinsight.images.decoded import DecodedImage, exif_orientation

if TYPE_CHECKING:
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
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


def decode(data: bytes, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame of a PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or PNM file.

    Raises:
        ImageError: ``image_not_an_image``, ``image_truncated``, ``image_too_large``, ``image_frame_out_of_range``,
            ``image_not_finite``.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # UnidentifiedImageError, and whatever a plug-in raises for half a header
        if data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            raise _damaged() from None
        raise ImageError(
            "expected a DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or PNM image, "
            f"got a file of another kind ({len(data):,} bytes)",
            code="image_not_an_image",
        ) from None
    return decode_opened(image, frame=frame, window=window, limits=limits)


def count_frames(data: bytes) -> int:
    """Return the number of pages or frames of a file; raises what Pillow raises for a damaged one."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return int(getattr(image, "n_frames", 1))


def decode_opened(image: Image.Image, *, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode one frame of an opened image, within limits; an image already in memory is not changed."""
    limits.check_size(*image.size)
    if frame:
        try:
            image.seek(frame)
        except EOFError:
            raise ImageError(
                f"expected a frame from 0 to {getattr(image, 'n_frames', 1) - 1}, got {frame}",
                code="image_frame_out_of_range",
            ) from None
        limits.check_size(*image.size)  # pages of one TIFF differ in size
    try:
        image.load()
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # Pillow's codecs raise OSError, SyntaxError, struct.error, ValueError, ... for damaged data
        raise _damaged() from None
    return dataclasses.replace(reduce_depth(image, window), orientation=exif_orientation(image))


def _damaged() -> ImageError:
    return ImageError(
        "expected a whole image file, got one that is cut off or damaged: copy it again from its source",
        code="image_truncated",
    )
