"""Images to display: as the model sees them, and as thumbnails."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight import images
from medimageinsight.preprocess import to_model_image

if TYPE_CHECKING:
    from pathlib import Path

    from medimageinsight.api import MedImageInsight


def view(data: bytes, frame: int, model: MedImageInsight, limits: images.Limits) -> tuple[bytes, tuple[int, int], int]:
    """Render an encoded image as a model sees it.

    Returns:
        A PNG of the model's size, the upright image's width and height, and the file's number of frames.

    Raises:
        ImageError: It cannot be decoded.
    """
    decoded = images.open(data, frame=frame, limits=limits)
    model_image = to_model_image(decoded, model.preprocessing)
    return as_png(model_image), decoded.upright().size, images.count_frames(data, limits=limits)


def thumbnail(file: Path, size: int, limits: images.Limits) -> bytes:
    """Return a PNG of a file's first frame, its longer side at most ``size`` pixels.

    Raises:
        ImageError: It cannot be decoded.
    """
    image = images.to_rgb(images.open(file, limits=limits).upright())
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return as_png(image)


def as_png(image: Image.Image) -> bytes:
    """Encode an image as PNG, without its metadata."""
    encoded = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(encoded, format="PNG")
    return encoded.getvalue()
