"""Decode JPEG, JPEG-LS and JPEG 2000 files that Pillow does not read or reduces to 8 bits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from medimageinsight.images.arrays import from_samples, image_bytes
from medimageinsight.images.budget import reserve
from medimageinsight.images.codestreams import Codestream, Coding, check_cost, decode_codestream, read_codestream
from medimageinsight.images.decoded import exif_orientation
from medimageinsight.images.raster.errors import damaged, decoder_errors, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

# Bytes of a sample in the decoder, measured by benchmarks/decoding.py: OpenJPEG computes in 32 bits
_DECODER_BYTES = {Coding.JPEG_2000: 6}
_EXIF = b"Exif\x00\x00"


def read_deep(data: bytes) -> Codestream | None:
    """Return the header of a codestream that Pillow does not read rightly; None for any that it does, and other files.

    Raises:
        ImageError: ``image_too_large`` for a codestream that needs time or memory out of proportion.
    """
    codestream = read_codestream(data)
    if codestream is None:
        return None
    is_others = codestream.coding is Coding.OTHER_JPEG  # arithmetic coding is Pillow's alone
    check_cost(dataclasses.replace(codestream, coding=Coding.JPEG) if is_others else codestream)
    is_deep = codestream.precision > 8 or codestream.coding in (Coding.JPEG_LOSSLESS, Coding.JPEG_LS)
    return codestream if is_deep and not is_others else None


def decode(data: bytes, codestream: Codestream, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode a file of one codestream; an alpha channel is dropped.

    Raises:
        ImageError: ``image_truncated``, ``image_unsupported``, ``image_too_large``, ``image_window_not_applicable``.
    """
    limits.check_size(codestream.width, codestream.height)
    if codestream.end is None:
        raise damaged()
    if codestream.samples == 4 and codestream.coding is not Coding.JPEG_2000:
        raise unsupported(f"a {codestream.coding.value} file of 4 components")
    pixel_bytes = codestream.samples * (2 + _DECODER_BYTES.get(codestream.coding, 0)) + image_bytes(codestream.samples)
    with reserve(codestream.width * codestream.height * pixel_bytes, limits), decoder_errors():
        decoded = from_samples(colour_of(_samples(data, codestream)), bits=codestream.precision, window=window)
    found = data.find(_EXIF, 0, 1 << 16)
    if codestream.coding is not Coding.JPEG_2000 and found >= 0:
        decoded.image.info["exif"] = data[found : found + (1 << 16)]
    return dataclasses.replace(decoded, orientation=exif_orientation(decoded.image))


def _samples(data: bytes, codestream: Codestream) -> NDArray[Any]:
    """Return the samples of a complete codestream, (H, W) or (H, W, samples), YCbCr of JPEG as RGB."""
    import imagecodecs

    if codestream.coding in (Coding.JPEG, Coding.JPEG_LOSSLESS):
        return imagecodecs.jpeg8_decode(data[codestream.start : codestream.end])
    return decode_codestream(data, codestream)


def colour_of(samples: NDArray[Any]) -> NDArray[Any]:
    """Return (H, W) grey or (H, W, 3) RGB of samples that may have an alpha channel."""
    if samples.ndim == 3 and samples.shape[2] in (1, 2):
        return samples[:, :, 0]
    return samples if samples.ndim == 2 else samples[:, :, :3]
