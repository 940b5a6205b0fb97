"""Pictures that are shown to people: as the network sees them, and small."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight import images
from medimageinsight.preprocess import as_seen

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.api import MedImageInsight


def view(data: bytes, frame: int, model: MedImageInsight, limits: images.Limits) -> tuple[bytes, tuple[int, int], int]:
    """An encoded image as a model sees it.

    Returns:
        A PNG of the model's size, the upright picture's own width and height, and how many frames the file has.

    Raises:
        ImageError: It cannot be decoded.
    """
    picture = images.open(data, frame=frame, limits=limits)
    seen = as_seen(picture, model.preprocessing)
    return as_png(seen), picture.upright().size, images.count_frames(data, limits=limits)


def thumbnail(file: Path, size: int, limits: images.Limits) -> bytes:
    """A PNG of a file's first frame, its longer side at most ``size`` pixels.

    Raises:
        ImageError: It cannot be decoded.
    """
    image = images.to_rgb(images.open(file, limits=limits).upright())
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return as_png(image)


def as_png(image: Image.Image) -> bytes:
    """The encoded image, without any of its metadata."""
    encoded = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(encoded, format="PNG")
    return encoded.getvalue()
