"""Images to display: as the model sees them, and as thumbnails."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight import images
from medimageinsight.preprocess import to_model_image
from medimageinsight.serve.studies import needs_reader, open_study

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight


@dataclass(frozen=True, kw_only=True)
class View:
    """An image as a model sees it."""

    png: bytes  # of the model's size
    width: int  # of the upright image itself, in pixels
    height: int
    frames: int  # of the file
    windows: tuple[str, ...]  # of the file, by their index, described for people
    warnings: tuple[images.ImageWarning, ...]


def view(
    data: bytes, model: MedImageInsight, limits: images.Limits, *, frame: int = 0, window: str | None = None
) -> View:
    """Render an encoded image as a model sees it.

    Raises:
        ImageError: It cannot be decoded.
    """
    windows: tuple[str, ...] = ()
    if needs_reader(data):
        opened = open_study(data, limits)
        decoded = model.open_image(opened.image(frame), window=window)
        frames = opened.count
    else:
        decoded = model.open_image(data, frame=frame, window=window)
        frames = images.count_frames(data, limits=limits)
        windows = tuple(map(_describe, images.list_windows(data, frame=frame, limits=limits)))
    width, height = decoded.upright().size
    return View(
        png=as_png(to_model_image(decoded, model.preprocessing)),
        width=width,
        height=height,
        frames=frames,
        windows=windows,
        warnings=decoded.warnings,
    )


def _describe(listed: images.ListedWindow) -> str:
    """Return a file's window for people: its center and width, and the file's own name for it."""
    numbers = "look-up table" if listed.window is None else str(listed.window)
    return f"{listed.explanation}: {numbers}" if listed.explanation else numbers


def thumbnail(
    source: images.Source, size: int, limits: images.Limits, *, frame: int = 0, window: str | None = None
) -> bytes:
    """Return a PNG of an image, its longer side at most ``size`` pixels.

    Raises:
        ImageError: It cannot be decoded.
    """
    image = images.to_rgb(images.open(source, frame=frame, window=window, limits=limits).upright())
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return as_png(image)


def to_data_uri(png: bytes) -> str:
    """Return a PNG as a ``data:`` URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def as_png(image: Image.Image) -> bytes:
    """Encode an image as PNG, without its metadata."""
    encoded = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(encoded, format="PNG")
    return encoded.getvalue()
