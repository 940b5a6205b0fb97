"""The errors of image files, once for all decoders."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Turn whatever a decoding library raises for damaged data inside the block into `damaged`.

    Errors of this package, a lack of memory and Pillow's bound on the size pass through.
    """
    try:
        yield
    except (ImageError, MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # OSError, SyntaxError, struct.error, ValueError, RuntimeError, ...
        raise damaged() from None


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
