"""Bounds on the size of an image and on the work to decode it, checked against its header before decoding."""

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
        accept_maps: Whether segmentations, dose grids and parametric maps, which are no images of a patient, are
            accepted as images.
        max_frames: Frames of a file beyond this number are neither counted nor decoded.
        max_walked_pixels: Maximum pixels of all frames up to the chosen frame, where each is decoded on top of the
            previous one: GIF, APNG, animated WebP and AVIF.
        max_decoded_bytes: Maximum bytes that decoders need at once, in all threads of the process. An image that needs
            more by itself is refused; otherwise its thread waits until others have finished.
    """

    max_bytes: int = 1 << 30
    max_pixels: int = 178_956_970
    accept_maps: bool = False
    max_frames: int = 100_000
    max_walked_pixels: int = 1 << 29
    max_decoded_bytes: int = 3 << 30

    def check_bytes(self, count: int) -> None:
        """Reject a source of more than ``max_bytes`` bytes (``image_too_large``)."""
        if count > self.max_bytes:
            raise ImageError(
                f"expected an image of at most {self.max_bytes:,} bytes, "
                f"got at least {count:,}: raise the limit, scale it down, or read a slide in tiles (studies.read)",
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

    def check_frame(self, frame: int) -> None:
        """Reject an index that no frame may have (``image_frame_out_of_range``)."""
        if not 0 <= frame < self.max_frames:
            raise ImageError(
                f"expected a frame from 0 to at most {self.max_frames - 1:,}, got {frame:,}",
                code="image_frame_out_of_range",
            )

    def check_walk(self, frame: int, width: int, height: int) -> None:
        """Reject a frame that more than ``max_walked_pixels`` pixels come before (``image_too_large``)."""
        walked = (frame + 1) * width * height
        if frame and walked > self.max_walked_pixels:
            raise ImageError(
                f"expected a frame with at most {self.max_walked_pixels:,} pixels up to its end, got {walked:,}: "
                "choose an earlier frame, or extract the frame with a video tool",
                code="image_too_large",
            )

    def too_many_pixels(self, got: str = "a larger image") -> ImageError:
        """Return the error for an image rejected by its header."""
        return ImageError(
            f"expected an image of at most {self.max_pixels:,} pixels, got {got}: "
            "scale it down, or read a slide in tiles (studies.read)",
            code="image_too_large",
        )
