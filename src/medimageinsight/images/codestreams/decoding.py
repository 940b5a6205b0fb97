"""Decode compressed frames with imagecodecs, without a colour transformation of JPEG.

imagecodecs has one wheel for all codings, and in thousands of damaged frames none of the decoders used here ended the
process. ``ljpeg_decode`` did, so lossless JPEG is decoded by libjpeg-turbo. High-throughput JPEG 2000 is decoded by
OpenJPEG: OpenJPH gave other pixels for lossy frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError
from medimageinsight.images.codestreams import jpeg_2000
from medimageinsight.images.codestreams.codestream import Codestream, Coding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_SAMPLES = 4
_MAX_SCANS = 100  # of JPEG; an encoder writes some ten
_MAX_SCANNED_PIXELS = 1 << 32  # of JPEG; each scan visits the whole image, at about 1 ns a pixel
_MAX_TILES = 1 << 14  # of JPEG 2000; OpenJPEG allocates 9 kB for each
_MAX_BLOCKS = 1 << 22  # of JPEG 2000; OpenJPEG allocates some hundred bytes for each
_MAX_PACKETS = 1 << 26  # of JPEG 2000; OpenJPEG allocates 2 bytes for each
# libjpeg leaves colours as they are where the colour space of its input and output are equal.
_JPEG_COLOUR_SPACES = {1: "GRAYSCALE", 3: "YCBCR", 4: "CMYK"}


def check_cost(codestream: Codestream) -> None:
    """Reject a codestream whose decoder would need memory or time out of proportion to its width times height.

    Raises:
        ImageError: ``image_too_large``; ``image_unsupported`` for a kind of codestream that no decoder here can read.
    """
    if codestream.samples > _MAX_SAMPLES:
        raise ImageError(
            f"expected a compressed frame of at most {_MAX_SAMPLES} components, got {codestream.samples}",
            code="image_unsupported",
        )
    if codestream.coding in (Coding.OTHER_JPEG, Coding.OTHER_JPEG_2000):
        raise ImageError(
            f"expected JPEG, JPEG-LS or JPEG 2000 of a usual kind, got {codestream.coding.value}: "
            "convert the file to Explicit VR Little Endian",
            code="image_unsupported",
        )
    for count, maximum, name in (
        (codestream.scans, _MAX_SCANS, "scans"),
        (codestream.scans * codestream.width * codestream.height, _MAX_SCANNED_PIXELS, "pixels in all scans"),
        (codestream.tiles, _MAX_TILES, "tiles"),
        (codestream.blocks, _MAX_BLOCKS, "precincts and code-blocks"),
        (codestream.packets, _MAX_PACKETS, "packets"),
    ):
        if count > maximum:
            raise ImageError(
                f"expected a compressed frame of at most {maximum:,} {name}, got {count:,}: "
                "compress it again with usual settings",
                code="image_too_large",
            )


def decode_codestream(data: bytes, codestream: Codestream) -> NDArray[Any]:
    """Return the samples of a complete codestream, (H, W) or (H, W, samples).

    YCbCr stays YCbCr, except where JPEG 2000 stores its chrominance in fewer pixels: that is converted to RGB.

    Raises:
        RuntimeError or ValueError: The decoder's own, for damaged data and unsupported processes.
    """
    import imagecodecs

    frame = data[codestream.start : codestream.end]
    if codestream.coding is Coding.JPEG_2000:
        return imagecodecs.jpeg2k_decode(frame if frame.endswith(jpeg_2000.END) else frame + jpeg_2000.END)
    if codestream.coding is Coding.JPEG_LS:
        return imagecodecs.jpegls_decode(frame)
    colour_space = _JPEG_COLOUR_SPACES.get(codestream.samples)
    return imagecodecs.jpeg8_decode(frame, colorspace=colour_space, outcolorspace=colour_space)
