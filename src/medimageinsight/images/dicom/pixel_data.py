"""Read the stored values of one frame, after the header has been checked against the pixel data."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images.budget import reserve
from medimageinsight.images.codestreams import read_codestream
from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.colour import is_ybr, ybr_to_rgb
from medimageinsight.images.dicom.compressed import decode_compressed
from medimageinsight.images.dicom.fragments import find_frame, find_offsets, is_encapsulated
from medimageinsight.images.dicom.maps import kind_of
from medimageinsight.images.dicom.native import decode_native, decode_rle, rle_segments
from medimageinsight.images.dicom.pixel_description import PixelDescription, describe, number_of_frames
from medimageinsight.images.dicom.stored_pixels import StoredPixels, damaged, header_overruled
from medimageinsight.images.dicom.transfer_syntax import transfer_syntax

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    from medimageinsight.images.limits import Limits

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_OFFSET_TABLE_IGNORED = ImageWarning(
    "offset_table_ignored", "the offset table contradicts the fragments; frames were found by their first bytes"
)


def decode_pixel_data(dataset: Dataset, *, frame: int, limits: Limits) -> StoredPixels:
    """Decode one frame only.

    The pixel data decide where the header contradicts them, with a warning: whether and how they are compressed, the
    samples of a pixel, their depth and colour space, and where a frame begins.

    Raises:
        ImageError: ``image_no_pixels``, ``image_bad_header``, ``image_frame_out_of_range``, ``image_too_large``,
            ``image_truncated``, ``image_inconsistent``, ``image_unsupported``, ``image_is_video``.
    """
    keyword = next((keyword for keyword in PIXEL_KEYWORDS if keyword in dataset), None)
    if keyword is None:
        raise without_pixels(dataset)
    frames = number_of_frames(dataset)
    if frame >= frames:
        raise ImageError(f"expected a frame from 0 to {frames - 1}, got {frame}", code="image_frame_out_of_range")
    syntax = transfer_syntax(dataset)
    element = _element(dataset, keyword)
    if is_encapsulated(element.value) and (syntax.is_encapsulated or element.is_undefined_length):
        return _decode_encapsulated(dataset, keyword, frame, limits)
    description = describe(dataset, keyword)
    limits.check_size(description.columns, description.rows)
    return _decode_uncompressed(element.value, description, frame, syntax, element.VR, limits)


def _element(dataset: Dataset, keyword: str) -> DataElement:
    """Return the element with the pixels, as bytes."""
    try:
        element = dataset[keyword]
    except Exception:  # pydicom converts on access and raises anything for a damaged element
        raise damaged() from None
    if not isinstance(element.value, bytes | bytearray):
        raise damaged()
    return element


def without_pixels(dataset: Dataset) -> ImageError:
    """Return the error for a dataset without pixels: cut off, or of a kind that has none."""
    kind = kind_of(dataset)
    if "Image Storage" in kind or ("Rows" in dataset and "BitsAllocated" in dataset):
        return ImageError(
            "expected a whole DICOM image, got one that ends before its pixels: copy it again from its source",
            code="image_truncated",
        )
    return ImageError(
        f"expected a DICOM image, got an object of {kind}, which has no pixels: choose the image it belongs to",
        code="image_no_pixels",
    )


def _decode_encapsulated(dataset: Dataset, keyword: str, frame: int, limits: Limits) -> StoredPixels:
    found = find_frame(dataset[keyword].value, frame, number_of_frames(dataset), _extended_offsets(dataset))
    if found is None or not found.data:
        raise damaged()
    warnings = (_OFFSET_TABLE_IGNORED,) if found.offset_table_ignored else ()
    codestream = read_codestream(found.data)
    description = describe(dataset, keyword, codestream)
    limits.check_size(description.columns, description.rows)
    if codestream is not None:
        with reserve(_decoded_bytes(description, codestream.samples), limits):
            stored = decode_compressed(found.data, codestream, description)
    elif rle_segments(found.data):
        with reserve(_decoded_bytes(description, description.samples), limits):
            stored = _decode_run_length(found.data, description)
    else:
        raise damaged()
    return replace(stored, warnings=(*warnings, *stored.warnings))


def _extended_offsets(dataset: Dataset) -> tuple[int, ...]:
    """Return the extended offset table (PS3.3 C.7.6.3.1.8), or nothing."""
    table = dataset.get("ExtendedOffsetTable")
    if not isinstance(table, bytes):
        return ()
    return struct.unpack(f"<{len(table) // 8}Q", table[: len(table) // 8 * 8])


def index_frames(dataset: Dataset) -> None:
    """Add an extended offset table to encapsulated frames without one, so that each is found without a search."""
    value = dataset.get("PixelData")
    if not isinstance(value, bytes) or not is_encapsulated(value) or "ExtendedOffsetTable" in dataset:
        return
    if offsets := find_offsets(value, number_of_frames(dataset)):
        dataset.add_new("ExtendedOffsetTable", "OV", struct.pack(f"<{len(offsets)}Q", *offsets))


def _decoded_bytes(description: PixelDescription, samples: int) -> int:
    """Return the bytes that a decoder needs for a frame: its result, and 4 a sample of its own in JPEG 2000."""
    return description.rows * description.columns * samples * (4 + max(1, description.allocated // 8))


def _decode_run_length(data: bytes, description: PixelDescription) -> StoredPixels:
    described, warnings = _fit_to_segments(rle_segments(data), description)
    try:
        values = decode_rle(data, described)
    except (RuntimeError, ValueError):  # pydicom's summary of the plug-in's error
        raise damaged() from None
    return _to_stored(values, described, warnings)


def _fit_to_segments(segments: int, description: PixelDescription) -> tuple[PixelDescription, tuple[ImageWarning, ...]]:
    """Correct the samples or the depth by the number of segments, one for each byte of a pixel (PS3.5 G.2)."""
    allocated = max(description.allocated, 8)
    if segments == description.samples * allocated // 8:
        return description, ()
    samples, rest = divmod(8 * segments, allocated)
    if rest == 0 and samples in (1, 3):
        warning = header_overruled(f"{description.samples} samples a pixel", f"{samples}")
        return replace(description, samples=samples), (warning,)
    allocated = 8 * segments // description.samples
    if segments % description.samples or allocated not in (8, 16, 32):
        raise damaged()
    stored = min(description.stored, allocated)
    warning = header_overruled(f"{description.allocated} bits allocated", f"{allocated}")
    return replace(description, allocated=allocated, stored=stored, high_bit=stored - 1), (warning,)


def _decode_uncompressed(
    data: bytes, description: PixelDescription, frame: int, syntax: UID, vr: str, limits: Limits
) -> StoredPixels:
    from pydicom.uid import ExplicitVRLittleEndian

    described, warnings = _fit_to_length(len(data), description)
    excess = len(data) - described.native_bits() // 8
    if excess < 0 or (syntax.is_encapsulated and excess > described.frames):  # a byte of padding for each
        raise damaged()
    if syntax.is_encapsulated:
        warnings = (*warnings, header_overruled("compressed pixel data", "uncompressed frames"))
        syntax = ExplicitVRLittleEndian
    with reserve(_decoded_bytes(described, described.samples), limits):
        try:
            values = decode_native(data, described, frame, syntax, vr)
        except ValueError:
            raise _unsupported_layout(described) from None
        return _to_stored(values, described, warnings)


def _fit_to_length(length: int, description: PixelDescription) -> tuple[PixelDescription, tuple[ImageWarning, ...]]:
    """Correct the samples of a pixel by the length of the pixel data (PS3.5 8.1.1)."""
    choices = [description]
    if description.is_subsampled:  # perhaps only by its name
        choices = [replace(description, photometric=description.photometric.removesuffix("_422")), description]
    elif description.samples == 1 and description.is_colour:
        choices = [replace(description, samples=3), replace(description, photometric="MONOCHROME2")]
    elif description.samples == 3 and description.photometric and not description.is_colour:
        choices = [replace(description, photometric="RGB"), replace(description, samples=1)]
    fitting = next((choice for choice in choices if choice.native_bits() <= 8 * length), description)
    if fitting is description:
        return description, ()
    return fitting, (
        header_overruled(
            f"{description.samples} samples a pixel and {description.photometric_name}",
            f"{fitting.samples} and {fitting.photometric_name}",
        ),
    )


def _to_stored(values: NDArray[Any], description: PixelDescription, warnings: tuple[ImageWarning, ...]) -> StoredPixels:
    """Convert YBR to RGB, and name what a missing or contradictory photometric interpretation can only be."""
    photometric = description.photometric
    if values.ndim == 2:
        photometric = photometric if photometric and not description.is_colour else "MONOCHROME2"
    elif is_ybr(photometric) and values.shape[2] == 3:
        values = ybr_to_rgb(values, bits=description.stored, partial=photometric.startswith("YBR_PARTIAL"))
        photometric = "RGB"
    elif not description.is_colour:
        photometric = "RGB"
    return StoredPixels(values=values, photometric=photometric, bits=description.stored, warnings=warnings)


def _unsupported_layout(description: PixelDescription) -> ImageError:
    return ImageError(
        "expected pixels of 1 or 3 samples of 1, 8, 12, 16, 32 or 64 bits, "
        f"got {description.samples} of {description.allocated}: export the image again",
        code="image_unsupported",
    )
