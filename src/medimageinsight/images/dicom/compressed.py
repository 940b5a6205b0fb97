"""Decode one frame of a JPEG, JPEG-LS or JPEG 2000 codestream to stored values."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.codecs import check_cost, decode_codestream
from medimageinsight.images.dicom.codestream import Codestream, Coding
from medimageinsight.images.dicom.colour import codestream_is_ybr, is_ybr, ybr_to_rgb
from medimageinsight.images.dicom.native import extract_bits
from medimageinsight.images.dicom.stored_pixels import StoredPixels, damaged, header_overruled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.dicom.pixel_description import PixelDescription


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
    if samples.shape[2] == 4 and description.samples == 4:
        return StoredPixels(
            values=samples, photometric=description.photometric, bits=codestream.precision, warnings=warnings
        )
    return _colour(samples[..., :3], codestream, description, warnings)


def _decode(data: bytes, codestream: Codestream) -> tuple[NDArray[Any], tuple[ImageWarning, ...]]:
    """Return the samples of a codestream by the first decoder that can read it."""
    expected = (codestream.height, codestream.width)
    try:
        samples = decode_codestream(data, codestream)
        if samples.shape[:2] == expected:
            return samples, ()
    except (RuntimeError, ValueError):  # imagecodecs' own errors are RuntimeErrors
        pass
    try:
        samples = _decode_with_pillow(data, codestream)
    except (OSError, ValueError, SyntaxError):  # Pillow's for damaged data
        raise damaged() from None
    if samples.shape[:2] != expected:
        raise damaged()
    return samples, (ImageWarning("decoder_fallback", "the usual decoder failed; Pillow decoded the frame"),)


def _decode_with_pillow(data: bytes, codestream: Codestream) -> NDArray[Any]:
    """Decode 8-bit JPEG and JPEG 2000, which Pillow knows too, without a colour transformation."""
    if codestream.coding not in (Coding.JPEG, Coding.JPEG_2000) or codestream.precision != 8 or codestream.signed:
        raise ValueError("only unsigned samples of 8 bits")
    with Image.open(io.BytesIO(data[codestream.start : codestream.end]), formats=("JPEG", "JPEG2000")) as image:
        if image.mode == "RGB" and codestream.coding is Coding.JPEG:
            image.draft("YCbCr", image.size)
        return np.asarray(image)


def _grey(
    samples: NDArray[Any],
    codestream: Codestream,
    description: PixelDescription,
    warnings: tuple[ImageWarning, ...],
) -> StoredPixels:
    bits = codestream.precision
    if codestream.coding in (Coding.JPEG, Coding.JPEG_LOSSLESS):
        # JPEG knows no sign, and lossless JPEG may contain the unused bits
        samples = samples.astype(f"u{max(description.allocated // 8, samples.dtype.itemsize)}", copy=False)
        if _fits(samples, codestream, description):
            bits = description.stored
    if bits > description.stored:
        warnings = (*warnings, header_overruled(f"{description.stored} bits a sample", f"{bits}"))
    if codestream.coding is not Coding.JPEG_2000 or codestream.signed != description.signed:
        samples = extract_bits(samples, bits=bits, high_bit=bits - 1, signed=description.signed)
    photometric = "MONOCHROME2" if description.is_colour else description.photometric
    return StoredPixels(values=samples, photometric=photometric or "MONOCHROME2", bits=bits, warnings=warnings)


def _fits(samples: NDArray[Any], codestream: Codestream, description: PixelDescription) -> bool:
    """Return whether the samples fit into the header's depth, or have its unused bits too."""
    if codestream.precision <= description.stored or codestream.precision == description.allocated:
        return True
    return codestream.precision < description.allocated and int(samples.max()) < 1 << description.stored


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
