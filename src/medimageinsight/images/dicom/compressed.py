"""Decode one frame of a JPEG, JPEG-LS or JPEG 2000 codestream to stored values."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.codestreams import Codestream, Coding, check_cost, decode_codestream
from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.colour import codestream_is_ybr, is_ybr, ybr_to_rgb
from medimageinsight.images.dicom.native import extract_bits
from medimageinsight.images.dicom.stored_pixels import StoredPixels, damaged, header_overruled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.dicom.pixel_description import PixelDescription

_DECODER_FALLBACK = ImageWarning("decoder_fallback", "the usual decoder refused the frame, Pillow decoded it")


def decode_compressed(data: bytes, codestream: Codestream, description: PixelDescription) -> StoredPixels:
    """Decode a frame by what its codestream states; warn where the header states something else.

    Raises:
        ImageError: ``image_inconsistent`` for another size than the header's, ``image_truncated``,
            ``image_too_large``, ``image_unsupported``.
    """
    if (codestream.width, codestream.height) != (description.columns, description.rows):
        raise ImageError(
            f"expected a compressed frame of {description.columns} x {description.rows} as in the header, "
            f"got {codestream.width} x {codestream.height}",
            code="image_inconsistent",
        )
    check_cost(codestream)
    if not codestream.is_complete:
        raise damaged()
    samples, warnings = _decode(data, codestream)
    if codestream.samples != description.samples:
        stated, found = f"{description.samples} samples a pixel", f"{codestream.samples}"
        warnings = (*warnings, header_overruled(stated, found))
    if samples.ndim == 3 and samples.shape[2] == 2:  # grey and alpha
        samples = samples[..., 0]
    if samples.ndim == 2:
        return _grey(samples, codestream, description, warnings)
    if samples.shape[2] == 4 and description.photometric in ("ARGB", "CMYK"):
        return StoredPixels(
            values=samples, photometric=description.photometric, bits=codestream.precision, warnings=warnings
        )
    return _colour(samples[..., :3], codestream, description, warnings)


def _decode(data: bytes, codestream: Codestream) -> tuple[NDArray[Any], tuple[ImageWarning, ...]]:
    """Return the samples of a codestream by the first decoder that can read it."""
    warnings: tuple[ImageWarning, ...] = ()
    try:
        samples = decode_codestream(data, codestream)
    except (RuntimeError, ValueError):  # imagecodecs' own errors are RuntimeErrors
        samples, warnings = _decode_with_pillow(data, codestream), (_DECODER_FALLBACK,)
    if samples.shape[:2] != (codestream.height, codestream.width):
        raise damaged()
    return samples, warnings


def _decode_with_pillow(data: bytes, codestream: Codestream) -> NDArray[Any]:
    """Decode JPEG 2000 whose components differ in depth or resolution, which imagecodecs refuses."""
    if codestream.coding is not Coding.JPEG_2000 or codestream.precision != 8 or codestream.signed:
        raise damaged()
    try:
        with Image.open(io.BytesIO(data[codestream.start : codestream.end]), formats=("JPEG2000",)) as image:
            return np.asarray(image)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception:  # Pillow raises OSError, SyntaxError, struct.error, ValueError, ... for damaged data
        raise damaged() from None


def _grey(
    samples: NDArray[Any],
    codestream: Codestream,
    description: PixelDescription,
    warnings: tuple[ImageWarning, ...],
) -> StoredPixels:
    # the header's depth may need a larger type than the samples have
    stored_type = np.min_scalar_type((1 << description.stored) - 1)
    if not codestream.signed:
        samples = samples.astype(np.promote_types(samples.dtype, stored_type), copy=False)
    bits = _bits(samples, codestream, description)
    if bits > description.stored:
        warnings = (*warnings, header_overruled(f"{description.stored} bits a sample", f"{bits}"))
    if codestream.coding is not Coding.JPEG_2000 or codestream.signed != description.signed:
        samples = extract_bits(samples, bits=bits, high_bit=bits - 1, signed=description.signed)
    photometric = "MONOCHROME2" if description.is_colour else description.photometric
    return StoredPixels(values=samples, photometric=photometric or "MONOCHROME2", bits=bits, warnings=warnings)


def _bits(samples: NDArray[Any], codestream: Codestream, description: PixelDescription) -> int:
    """Return the number of bits that count, the header's wherever the samples allow it."""
    precision, stored = codestream.precision, description.stored
    knows_no_depth = codestream.coding in (Coding.JPEG, Coding.JPEG_LOSSLESS)
    if precision <= stored:
        # JPEG has 8 or 12 bits whatever the header has; the sign bit of the others is the highest of theirs
        return stored if knows_no_depth else precision
    if knows_no_depth and precision == description.allocated:
        return stored  # the unused bits are there too, and may contain anything (PS3.5 8.1.1)
    return stored if not codestream.signed and int(samples.max()) < 1 << stored else precision


def _colour(
    samples: NDArray[Any],
    codestream: Codestream,
    description: PixelDescription,
    warnings: tuple[ImageWarning, ...],
) -> StoredPixels:
    ybr = codestream_is_ybr(codestream, description.photometric)
    if description.is_colour and ybr != is_ybr(description.photometric) and codestream.coding is not Coding.JPEG_2000:
        warnings = (*warnings, header_overruled(description.photometric_name, "YCbCr" if ybr else "RGB"))
    if ybr:
        partial = codestream.coding is Coding.JPEG_2000 and description.photometric.startswith("YBR_PARTIAL")
        samples = ybr_to_rgb(samples, bits=codestream.precision, partial=partial)
    if description.samples == 1 and (samples == samples[..., :1]).all():
        return _grey(np.ascontiguousarray(samples[..., 0]), codestream, description, warnings)
    return StoredPixels(values=samples, photometric="RGB", bits=codestream.precision, warnings=warnings)
