"""Copies of images as they usually differ from the original, and the similarity that a model's embeddings keep.

A model that was trained little, or for other images, gives most images of one kind nearly the same embedding: which
cosine means "the same image" is a property of the model and is measured with altered copies of the user's images.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medimageinsight import images
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.api import MedImageInsight

COPIES_FOUND = 0.98  # the fraction of copies whose cosine is at least the threshold
JPEG_QUALITY = 75
CROPPED = 0.02  # of width and height


def make_copies(image: Image.Image) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return an image re-encoded as JPEG of quality 75, at half its size, and without 2 % of its width and height."""
    rgb = images.to_rgb(image)
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=JPEG_QUALITY)
    half = rgb.resize((max(1, rgb.width // 2), max(1, rgb.height // 2)), Image.Resampling.LANCZOS)
    left, top = round(rgb.width * CROPPED / 2), round(rgb.height * CROPPED / 2)
    cropped = rgb.crop((left, top, max(left + 1, rgb.width - left), max(top + 1, rgb.height - top)))
    return Image.open(buffer), half, cropped


def measure_copy_cosine(model: MedImageInsight, originals: Iterable[Image.Image]) -> float:
    """Return the cosine that `COPIES_FOUND` of the altered copies of images have with their original.

    `originals` are a sample of the images among which duplicates are searched; they and three copies of each are
    embedded, with the model's own preprocessing, a few at a time.

    Raises:
        InputError: There are no images (``duplicates_uncalibrated``).
    """
    versions = (np.asarray(images.to_rgb(version)) for image in originals for version in (image, *make_copies(image)))
    embeddings = model.embed_images(versions).reshape(-1, 4, model.embedding_dim)
    if not len(embeddings):
        raise InputError(
            "expected images from which to measure the threshold, got none that can be read: mount their disk, change "
            "to the folder from which they were indexed, or give a threshold",
            code="duplicates_uncalibrated",
        )
    cosines = np.einsum("nd,ncd->nc", embeddings[:, 0], embeddings[:, 1:])
    return float(np.quantile(cosines, 1 - COPIES_FOUND, method="lower"))
