"""The errors of image files, once for all decoders."""

from __future__ import annotations

from medimageinsight.errors import ImageError


def damaged() -> ImageError:
    """Return the error for a file that ends too early or contradicts itself."""
    return ImageError(
        "expected a whole image file, got one that is cut off or damaged: copy it again from its source",
        code="image_truncated",
    )


def unsupported(got: str, advice: str = "convert it to 8-bit PNG or 16-bit grey TIFF") -> ImageError:
    """Return the error for a valid file of a flavour that is not read."""
    return ImageError(f"expected a flavour of image that can be read, got {got}: {advice}", code="image_unsupported")


def out_of_range(frame: int, count: int) -> ImageError:
    """Return the error for the index of a frame that a file does not have."""
    return ImageError(f"expected a frame from 0 to {count - 1:,}, got {frame:,}", code="image_frame_out_of_range")
