"""Bounds on the size of an image, checked against its header before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from medimageinsight.errors import ImageError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds against hostile or mistaken files.

        Limits(max_bytes=20 << 20, max_pixels=50_000_000)

    Args:
        max_bytes: Maximum bytes of one source, encoded (and inflated, for a deflated DICOM file).
        max_pixels: Maximum pixels of one frame, width times height. The default is Pillow's own bound, which also
            applies to files that Pillow decodes: to exceed it, raise ``PIL.Image.MAX_IMAGE_PIXELS`` too.
    """

    max_bytes: int = 1 << 30
    max_pixels: int = 178_956_970

    def check_bytes(self, count: int) -> None:
        """Reject a source of more than ``max_bytes`` bytes (``image_too_large``)."""
        if count > self.max_bytes:
            raise ImageError(
                f"expected an image of at most {self.max_bytes:,} bytes, "
                f"got at least {count:,}: raise the limit or scale it down",
                code="image_too_large",
            )

    def check_size(self, width: int, height: int) -> None:
        """Reject a frame of more than ``max_pixels`` pixels (``image_too_large``) or of none (``image_bad_shape``)."""
        if width < 1 or height < 1:
            raise ImageError(
                f"expected an image of at least 1 x 1 pixel, got {width} x {height}", code="image_bad_shape"
            )
        if width * height > self.max_pixels:
            raise self.too_many_pixels(f"{width:,} x {height:,}")

    def too_many_pixels(self, got: str = "a larger image") -> ImageError:
        """Return the error for an image rejected by its header."""
        return ImageError(
            f"expected an image of at most {self.max_pixels:,} pixels, got {got}: "
            "scale the image down or cut it into tiles",
            code="image_too_large",
        )
