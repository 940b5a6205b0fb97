"""A decoded picture in its own mode, and its two ways out: upright, and as RGB."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from medimageinsight.images.quiet import quiet

# Exif 2.3, tag 0x0112: how to turn the stored rows and columns into the upright picture.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """One decoded frame.

    Args:
        image: 8 bits a channel, fully decoded, in the mode it was stored in: ``1``, ``L``, ``LA``, ``P``, ``PA``,
            ``RGB``, ``RGBA``, ``CMYK``, ``YCbCr``, ``LAB``, ``HSV`` (or their variants ``RGBX``, ``La``, ``RGBa``).
        orientation: The EXIF orientation, 1 to 8, not yet applied to ``image``.
    """

    image: Image.Image
    orientation: int = 1

    def upright(self) -> Image.Image:
        """The image as a person would look at it: turned and mirrored as its EXIF orientation says."""
        method = _TO_UPRIGHT.get(self.orientation)
        return self.image if method is None else self.image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB, exactly as Pillow's ``convert("RGB")``.

    An alpha channel is dropped, not blended with a background: that is what the original model was given.
    """
    if image.mode == "RGB":
        return image
    with quiet():  # Pillow advises RGBA for a palette with transparency, which is dropped here on purpose
        if image.mode in ("La", "RGBa"):  # premultiplied: Pillow only knows the way back to straight alpha
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        return image.convert("RGB")


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation of a decoded image, 1 (upright) where it has none or it cannot be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block raises anything; the pixels beside it are whole
        return 1
    return orientation if orientation in _TO_UPRIGHT else 1
