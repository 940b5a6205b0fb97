"""A decoded image in its own Pillow mode, its EXIF orientation, and the conversion to RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from PIL import Image

from medimageinsight.images.decoder_warnings import suppress_decoder_warnings

# Exif 2.3, tag 0x0112: the operation that makes the stored rows and columns upright.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class ImageWarning:
    """A defect of a file that did not prevent its display, for example an unusable look-up table.

    Args:
        code: Stable identifier for a program, lower snake case.
        message: One line for a person: what was wrong and what was used instead; never patient data.
    """

    code: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return ``{"code": ..., "message": ...}``."""
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True)
class FramesUnused(ImageWarning):
    """The first of several frames was displayed, because none was chosen.

    Args:
        frames: The number of frames of the file.
    """

    frames: int = 1

    @classmethod
    def of(cls, frames: int) -> Self:
        """Return the warning for a file of several frames."""
        message = f"1 of {frames:,} frames was used, the first: choose another one, or read the file as a study"
        return cls("frames_unused", message, frames)


WINDOW_NOT_APPLIED = ImageWarning(
    "window_not_applied", "the selected window was not applied: colour, or grey of 8 bits, is displayed as it is"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """One decoded frame.

    Args:
        image: 8 bits a channel, fully decoded, in the mode it was stored in: ``1``, ``L``, ``LA``, ``P``, ``PA``,
            ``RGB``, ``RGBA``, ``CMYK``, ``YCbCr``, ``LAB``, ``HSV`` (or their variants ``RGBX``, ``La``, ``RGBa``).
        orientation: The EXIF orientation, 1 to 8, not yet applied to ``image``.
        warnings: The defects that did not prevent the display.
    """

    image: Image.Image
    orientation: int = 1
    warnings: tuple[ImageWarning, ...] = ()

    def upright(self) -> Image.Image:
        """Return the image rotated and mirrored by its EXIF orientation."""
        method = _TO_UPRIGHT.get(self.orientation)
        return self.image if method is None else self.image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to mode RGB exactly as Pillow's ``convert("RGB")``.

    An alpha channel is dropped, not blended with a background: the original model was trained that way.
    """
    if image.mode == "RGB":
        return image
    with suppress_decoder_warnings():  # Pillow advises RGBA for a palette with transparency, dropped here on purpose
        if image.mode in ("La", "RGBa"):  # premultiplied: Pillow converts these to straight alpha only
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        return image.convert("RGB")


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a decoded image, 1 (upright) if it is missing or unreadable."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block raises anything; the pixels are intact
        return 1
    return orientation if orientation in _TO_UPRIGHT else 1
