"""Decompress the stored values of one frame, after the header has been checked against the pixel data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.codestream import frame_size, is_complete
from medimageinsight.images.dicom.elements import required_integer, text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    from medimageinsight.images.limits import Limits

# The first of these that supports a transfer syntax decodes it. All give the same pixels; damaged frames make
# pylibjpeg's RLE decoder panic and can crash gdcm, which is used only where no other can read: lossless JPEG.
_PLUGINS = ("pydicom", "pylibjpeg", "pyjpegls", "pillow", "gdcm")
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPixels:
    """The stored values of one frame."""

    values: NDArray[Any]  # (H, W), or (H, W, 3) for RGB
    photometric: str  # photometric interpretation of the values; YBR is converted to RGB
    bits: int  # stored, of a sample


def decode_pixel_data(dataset: Dataset, *, frame: int, limits: Limits) -> StoredPixels:
    """Decompress one frame only.

    Raises:
        ImageError: ``image_no_pixels``, ``image_bad_header``, ``image_frame_out_of_range``, ``image_too_large``,
            ``image_truncated``, ``image_inconsistent``, ``image_unsupported``, ``image_unreadable``.
    """
    keyword = next((keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset), None)
    if keyword is None:
        raise _without_pixels(dataset)
    frames = required_integer(dataset, "NumberOfFrames", default=1)
    if frame >= max(frames, 1):
        raise ImageError(
            f"expected a frame from 0 to {max(frames, 1) - 1}, got {frame}", code="image_frame_out_of_range"
        )
    rows, columns = required_integer(dataset, "Rows"), required_integer(dataset, "Columns")
    limits.check_size(columns, rows)
    syntax = transfer_syntax(dataset)
    if syntax.is_compressed and syntax.is_encapsulated:
        _check_depth(dataset, syntax)
        _check_codestream(_encapsulated_frame(dataset, frame, frames), rows, columns)
    else:
        _check_length(dataset, keyword, rows * columns, max(frames, 1))
    return _decompress(dataset, syntax, frame)


def transfer_syntax(dataset: Dataset) -> UID:
    """Return the dataset's transfer syntax; without one, the uncompressed syntax that it was parsed with.

    Raises:
        ImageError: ``image_unsupported`` if no installed decoder supports it.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

    stated = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if not stated:
        _, little_endian = dataset.original_encoding
        return ExplicitVRBigEndian if little_endian is False else ExplicitVRLittleEndian
    syntax = UID(str(stated))
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise _unsupported(syntax)
    return syntax


def _without_pixels(dataset: Dataset) -> ImageError:
    from pydicom.uid import UID

    # The file meta first: it is present even where the dataset ends early.
    kind = UID(text(getattr(dataset, "file_meta", dataset), "MediaStorageSOPClassUID") or text(dataset, "SOPClassUID"))
    if "Image Storage" in kind.name or ("Rows" in dataset and "BitsAllocated" in dataset):
        return ImageError(
            "expected a whole DICOM image, got one that ends before its pixels: copy it again from its source",
            code="image_truncated",
        )
    # Only a name from the standard is reported, never the text of the file.
    named = f"an object of the kind '{kind.name}'" if kind.name != str(kind) else "an object of a non-standard kind"
    return ImageError(
        f"expected a DICOM image, got {named}, which has no pixels: choose the image it belongs to",
        code="image_no_pixels",
    )


def _encapsulated_frame(dataset: Dataset, frame: int, frames: int) -> bytes:
    from pydicom.encaps import get_frame

    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    try:
        data: bytes = get_frame(dataset.PixelData, frame, number_of_frames=frames, extended_offsets=offsets)
    except Exception:  # fragments that do not add up raise ValueError, struct.error, StopIteration
        raise _damaged() from None
    if not data:
        raise _damaged()
    return data


def _check_depth(dataset: Dataset, syntax: UID) -> None:
    """Reject the depths that no installed decoder supports: JPEG of 12 bits, RLE of single bits."""
    from pydicom.uid import JPEGExtended12Bit, RLELossless

    allocated = required_integer(dataset, "BitsAllocated")
    stored = required_integer(dataset, "BitsStored", default=allocated)
    if (syntax == JPEGExtended12Bit and stored != 8) or (syntax == RLELossless and allocated == 1):
        raise _unsupported(syntax, stored)


def _check_codestream(data: bytes, rows: int, columns: int) -> None:
    """Reject a compressed frame whose size differs from the header, or that is incomplete."""
    size = frame_size(data)
    if size is None:
        return  # RLE has no header of its own
    if size != (columns, rows):
        raise ImageError(
            f"expected a compressed frame of {columns} x {rows} as in the header, got {size[0]} x {size[1]}",
            code="image_inconsistent",
        )
    if not is_complete(data):
        raise _damaged()


def _check_length(dataset: Dataset, keyword: str, pixels: int, frames: int) -> None:
    """Reject uncompressed pixel data that ends early (PS3.5 8.1.1, 8.2)."""
    samples = required_integer(dataset, "SamplesPerPixel", default=1)
    default_bits = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(keyword)
    bits = pixels * samples * frames * required_integer(dataset, "BitsAllocated", default=default_bits)
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3  # PS3.3 C.7.6.3.1.2: two pixels share a pair of colour samples
    if len(dataset[keyword].value) < bits // 8:
        raise _damaged()


def _decompress(dataset: Dataset, syntax: UID, frame: int) -> StoredPixels:
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(syntax)
    plugin = next((name for name in _PLUGINS if name in decoder.available_plugins), "")
    options: Any = {"allow_excess_frames": False, **_missing_options(dataset)}
    try:
        values, properties = decoder.as_array(dataset, index=frame, decoding_plugin=plugin, **options)
    except RuntimeError:  # pydicom's summary of the plug-in's error
        raise _damaged() from None
    return StoredPixels(
        values=values,
        photometric=str(properties["photometric_interpretation"]),
        bits=int(properties.get("bits_stored", properties["bits_allocated"])),
    )


def _missing_options(dataset: Dataset) -> dict[str, Any]:
    """Return decoder options for missing elements that have only one sensible value."""
    samples = required_integer(dataset, "SamplesPerPixel", default=1)
    defaults: dict[str, Any] = {
        "SamplesPerPixel": ("samples_per_pixel", samples),
        "PhotometricInterpretation": ("photometric_interpretation", "RGB" if samples == 3 else "MONOCHROME2"),
        "PixelRepresentation": ("pixel_representation", 0),
        "PlanarConfiguration": ("planar_configuration", 0),
        "BitsStored": ("bits_stored", required_integer(dataset, "BitsAllocated", default=0)),
    }
    return dict(option for keyword, option in defaults.items() if keyword not in dataset)


def _unsupported(syntax: UID, bits: int | None = None) -> ImageError:
    # Only a name from the standard is reported, never the text of the file.
    name = "a private or unknown transfer syntax" if syntax.name == str(syntax) else syntax.name
    depth = "" if bits is None else f" of {bits} bits"
    return ImageError(
        f"expected a transfer syntax that can be decoded here, got {name}{depth}: "
        "convert the file to Explicit VR Little Endian",
        code="image_unsupported",
    )


def _damaged() -> ImageError:
    return ImageError(
        "expected a whole DICOM image, got one whose pixel data is cut off or damaged: copy it again from its source",
        code="image_truncated",
    )
