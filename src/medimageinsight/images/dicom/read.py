"""Recognise and parse DICOM files: with and without the standard's preamble, compressed with gzip."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.scan import PIXEL_TAGS, scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.images.limits import Limits

_PIXEL_GROUP = 0x7FE0
_MAX_ELEMENTS = 100_000  # outside sequences; pydicom needs about 2 microseconds for each
_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LONG_LENGTHS = (b"OB", b"OW", b"SQ", b"UN", b"UT")
_GZIP = b"\x1f\x8b\x08"  # RFC 1952 2.3.1
_GZIP_WBITS = zlib.MAX_WBITS + 16
_BEGINNING = 1024  # bytes that are enough to recognise a file
_JSON = re.compile(rb'\s*\[?\s*\{\s*"[0-9A-Fa-f]{8}"\s*:\s*\{\s*"(?:vr|Value)"')  # PS3.18 F.2


def is_dicom(data: bytes) -> bool:
    """Return whether the bytes are a DICOM file, also in gzip or as JSON, or begin like a dataset without preamble."""
    beginning = _uncompressed_beginning(data)
    return _has_prefix(beginning) or _begins_like_a_dataset(beginning) or bool(_JSON.match(beginning))


def read(data: bytes, limits: Limits) -> Dataset:
    """Parse a DICOM file, without decoding its pixels.

    Raises:
        ImageError: ``image_truncated``, ``image_not_an_image``, ``image_is_dicom_json``, ``image_too_large`` (a
            compressed file that inflates beyond ``limits.max_bytes``).
    """
    from pydicom.filereader import read_partial

    data = plain_bytes(data, limits)
    try:
        if (scanned := scan(data)) is not None:
            return scanned.dataset
        dataset = read_partial(io.BytesIO(data), stop_when=_StopAfterPixels(), force=True)
        empty = len(dataset) == 0  # pydicom returns an empty dataset where the file ends early
    except (ImageError, MemoryError):
        raise
    except Exception:  # the parser raises anything: zlib.error, struct.error, UnboundLocalError, ...
        raise damaged_file() from None
    if empty:
        raise damaged_file()
    check_plausible(dataset, data)
    return dataset


def check_plausible(dataset: Dataset, data: bytes) -> None:
    """Reject a file that only begins like a dataset (``image_not_an_image``)."""
    if not _has_prefix(data) and all(keyword not in dataset for keyword in ("SOPClassUID", "Rows", "Modality")):
        raise ImageError(
            "expected a DICOM image, got a file without SOPClassUID, Rows and Modality", code="image_not_an_image"
        )


def begins_plainly(beginning: bytes) -> bool:
    """Return whether a file's first 1,024 bytes are those of a dataset that pydicom parses as it is stored."""
    return _has_prefix(beginning) and not beginning.startswith((_GZIP, _PREFIX)) and _DEFLATED not in beginning


def plain_bytes(data: bytes, limits: Limits) -> bytes:
    """Return a DICOM file without gzip and with a preamble, after the size of its deflated dataset has been checked.

    Raises:
        ImageError: ``image_is_dicom_json``, ``image_truncated``, ``image_too_large``.
    """
    if data.startswith(_GZIP):
        data = _inflate_gzip(data, limits)
    if _JSON.match(data):
        raise ImageError(
            "expected a DICOM file, got DICOM JSON, whose pixels are elsewhere: "
            "request the instance as application/dicom, or save the JSON and its bulk data as a DICOM file",
            code="image_is_dicom_json",
        )
    if data.startswith(_PREFIX):  # some writers omit the preamble, but not the prefix
        data = bytes(_PREAMBLE_BYTES) + data
    try:
        _check_inflated_size(data, limits)
    except (ImageError, MemoryError):
        raise
    except Exception:  # zlib.error or struct.error of a damaged file
        raise damaged_file() from None
    return data


class StopAtPixels:
    """Tell pydicom to stop at the pixels.

    Attributes:
        found: Whether it did.
        length: The stated length of the pixel data in bytes, 0xFFFFFFFF if it is undefined.

    Raises:
        ImageError: ``image_too_large`` for more elements than any image has.
    """

    def __init__(self) -> None:
        self.found = False
        self.length = 0
        self._elements = 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG002 - the signature is pydicom's
        """Return whether the element is that of the pixels."""
        self._elements += 1
        _check_elements(self._elements)
        if tag not in PIXEL_TAGS:
            return False
        self.found, self.length = True, length
        return True


class _StopAfterPixels:
    """Tell pydicom to stop at the first element after the pixels: what follows there may be megabytes of padding.

    Raises:
        ImageError: ``image_too_large`` for more elements than any image has.
    """

    def __init__(self) -> None:
        self._elements = 0
        self._has_pixels = False

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG002 - the signature is pydicom's
        self._elements += 1
        _check_elements(self._elements)
        is_pixel_group = tag >> 16 == _PIXEL_GROUP
        stop = self._has_pixels and not is_pixel_group
        self._has_pixels = is_pixel_group
        return stop


def _check_elements(count: int) -> None:
    if count > _MAX_ELEMENTS:
        raise ImageError(
            f"expected a DICOM file of at most {_MAX_ELEMENTS:,} elements, got more: export it again",
            code="image_too_large",
        )


def _uncompressed_beginning(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data[:_BEGINNING]
    try:
        return zlib.decompressobj(_GZIP_WBITS).decompress(data[:_BEGINNING], _BEGINNING)
    except zlib.error:
        return b""


def _inflate_gzip(data: bytes, limits: Limits) -> bytes:
    """Return the contents of a gzip file of any number of members, at most ``limits.max_bytes`` bytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            inflated = file.read(limits.max_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise damaged_file() from None
    limits.check_bytes(len(inflated))
    return inflated


def _has_prefix(data: bytes) -> bool:
    # PS3.10 7.1: a preamble of 128 arbitrary bytes, then the prefix.
    return data.startswith(_PREFIX, _PREAMBLE_BYTES) or data.startswith(_PREFIX)


def _begins_like_a_dataset(data: bytes) -> bool:
    """Return whether the data begin with group 0002 or 0008, then an explicit VR or a small length (PS3.5 7.1)."""
    if len(data) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", data)
        if group in (0x0002, 0x0008) and element < 0x0100:
            explicit = data[4:6].isalpha() and data[4:6].isupper()
            return explicit or struct.unpack_from(f"{order}I", data, 4)[0] < 1024
    return False


def _check_inflated_size(data: bytes, limits: Limits) -> None:
    """Reject a deflated dataset (PS3.5 A.5) that inflates beyond the limit; pydicom inflates it in one call."""
    start = _end_of_file_meta(data)
    if _DEFLATED not in data[:start]:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    count, rest = 0, data[start:]
    while rest and not inflater.eof:
        chunk = inflater.decompress(rest, 1 << 20)
        rest = inflater.unconsumed_tail
        count += len(chunk)
        limits.check_bytes(count)


def _end_of_file_meta(data: bytes) -> int:
    """Return the offset of the dataset: after group 0002, always in explicit VR little endian (PS3.10 7.1)."""
    position = 132 if _has_prefix(data) else 0
    while data[position : position + 2] == b"\x02\x00" and position + 12 <= len(data):
        if data[position + 4 : position + 6] in _LONG_LENGTHS:
            position += 12 + struct.unpack_from("<I", data, position + 8)[0]
        else:
            position += 8 + struct.unpack_from("<H", data, position + 6)[0]
    return position


def damaged_file() -> ImageError:
    """Return the error for a header that cannot be parsed to its end."""
    return ImageError(
        "expected a whole DICOM file, got one that is cut off or damaged: copy it again from its source",
        code="image_truncated",
    )
