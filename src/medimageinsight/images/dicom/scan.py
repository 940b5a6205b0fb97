"""Find the elements of a plainly encoded file in a fraction of pydicom's time; anything unusual is left to pydicom.

What is found is a `pydicom.Dataset` of elements that are not converted until they are used, equal to pydicom's own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from pydicom.dataset import Dataset

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # FloatPixelData, DoubleFloatPixelData, PixelData
UNDEFINED = 0xFFFFFFFF  # length
_PIXEL_GROUP = 0x7FE0
CHARACTER_SET = 0x00080005
_TRANSFER_SYNTAX = 0x00020010
_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_ENCAPSULATED = "1.2.840.10008.1.2.4."  # and what follows; all are explicit, little endian
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS"),
        *(b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 16  # of sequences of undefined length
_MAX_ELEMENTS = 10_000
_header = struct.Struct("<HH2sH").unpack_from
_implicit_header = struct.Struct("<HHL").unpack_from
_long_length = struct.Struct("<L").unpack_from


class _UnusualError(Exception):
    """The file needs pydicom."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """The elements of a file up to its pixels, or with them.

    Attributes:
        dataset: The elements, with the file meta.
        pixels_at: The offset of the first value of the pixels; None without pixels.
        pixel_bytes: Their stated length, `UNDEFINED` if they are encapsulated.
    """

    dataset: Dataset
    pixels_at: int | None
    pixel_bytes: int = 0


def scan(data: bytes, *, wanted: Set[int] | None = None, size: int | None = None) -> Scanned | None:
    """Return the elements of a file, or None if only pydicom can read it.

    Args:
        data: The file with preamble and prefix; its beginning, if `size` is given.
        wanted: The tags that are wanted; None is all.
        size: The bytes of the file, if only its header is read; None reads the pixels too.
    """
    try:
        position, meta = _read_meta(data)
        syntax = meta[_TRANSFER_SYNTAX][1].decode("ascii").strip(" \0")
        plain = syntax in (_IMPLICIT, _EXPLICIT, _RUN_LENGTH) or syntax.startswith(_ENCAPSULATED)
        if not plain:
            return None
        elements, pixels_at, pixel_bytes = _read_elements(data, position, syntax == _IMPLICIT, wanted, size)
    except (_UnusualError, struct.error, KeyError, UnicodeDecodeError):
        return None
    if not elements:
        return None
    dataset = _dataset(meta, elements, implicit=syntax == _IMPLICIT)
    return Scanned(dataset=dataset, pixels_at=pixels_at, pixel_bytes=pixel_bytes)


_Elements = dict[int, tuple["str | None", bytes, int, int]]
"""The VR, value, stated length and offset of each element."""


def _read_meta(data: bytes) -> tuple[int, _Elements]:
    """Return the offset of the dataset, and the elements of group 0002 (PS3.10 7.1)."""
    if data[128:132] != b"DICM":
        raise _UnusualError
    elements: _Elements = {}
    position, last = 132, 0
    while data[position : position + 2] == b"\x02\x00":
        tag, vr, start, length = _explicit(data, position)
        if tag <= last or length == UNDEFINED or start + length > len(data):
            raise _UnusualError
        last, position = tag, start + length
        elements[tag] = (vr.decode(), data[start:position], length, start)
    return position, elements


def _read_elements(
    data: bytes, position: int, implicit: bool, wanted: Set[int] | None, size: int | None
) -> tuple[_Elements, int | None, int]:
    read: Callable[[bytes, int], tuple[int, bytes | None, int, int]] = _read_implicit if implicit else _explicit
    elements: _Elements = {}
    pixels_at, pixel_bytes, last, end = None, 0, 0x0002FFFF, len(data)
    for _ in range(_MAX_ELEMENTS):
        if position == end and size in (None, end):
            return elements, pixels_at, pixel_bytes
        if pixels_at is not None and (position + 2 > end or data[position : position + 2] != b"\xe0\x7f"):
            return elements, pixels_at, pixel_bytes  # what follows the pixels may be megabytes of padding
        tag, vr, start, length = read(data, position)
        if tag <= last:
            raise _UnusualError
        last = tag
        if tag in PIXEL_TAGS:
            pixels_at, pixel_bytes = start, length
            if size is not None:
                return elements, pixels_at, pixel_bytes
        stop = position = start + length
        if length == UNDEFINED:
            stop, position = _end_of_undefined(data, tag, vr, start, implicit)
            if tag not in PIXEL_TAGS:
                vr, length = b"SQ", stop - start
        if position > end:
            raise _UnusualError
        if wanted is None or tag in wanted:
            elements[tag] = (vr.decode() if vr else None, data[start:stop], length, start)
    raise _UnusualError


def _end_of_undefined(data: bytes, tag: int, vr: bytes | None, start: int, implicit: bool) -> tuple[int, int]:
    """Return the offset of the delimiter of an element of undefined length, and of what follows."""
    if tag in PIXEL_TAGS:
        return _end_of_fragments(data, start)
    if vr in (b"SQ", None):
        return _end_of_sequence(data, start, implicit, 0)
    raise _UnusualError


def _explicit(data: bytes, position: int) -> tuple[int, bytes, int, int]:
    group, element, vr, length = _header(data, position)
    start = position + 8
    if vr in _LONG:
        (length,) = _long_length(data, start)
        start += 4
    elif vr not in _SHORT:
        raise _UnusualError
    return group << 16 | element, vr, start, length


def _read_implicit(data: bytes, position: int) -> tuple[int, None, int, int]:
    group, element, length = _implicit_header(data, position)
    return group << 16 | element, None, position + 8, length


def _end_of_sequence(data: bytes, position: int, implicit: bool, depth: int) -> tuple[int, int]:
    """Return the offset of the delimiter of a sequence, and of what follows (PS3.5 7.5)."""
    if depth > _MAX_DEPTH:
        raise _UnusualError
    while True:
        tag, _, start, length = _read_implicit(data, position)
        if tag == _END_OF_SEQUENCE:
            return position, start
        if tag != _ITEM:
            raise _UnusualError
        position = _end_of_item(data, start, implicit, depth) if length == UNDEFINED else start + length


def _end_of_item(data: bytes, position: int, implicit: bool, depth: int) -> int:
    while True:
        tag, _, start, length = _read_implicit(data, position)
        if tag == _END_OF_ITEM:
            return start
        vr = None
        if not implicit:
            tag, vr, start, length = _explicit(data, position)
        if length != UNDEFINED:
            position = start + length
        elif vr in (b"SQ", None):
            _, position = _end_of_sequence(data, start, implicit, depth + 1)
        else:
            raise _UnusualError


def _end_of_fragments(data: bytes, position: int) -> tuple[int, int]:
    """Return the offset of the delimiter of encapsulated pixels, and of what follows (PS3.5 A.4)."""
    while True:
        tag, _, start, length = _read_implicit(data, position)
        if tag == _END_OF_SEQUENCE and length == 0:
            return position, start
        if tag != _ITEM or length == UNDEFINED:
            raise _UnusualError
        position = start + length


def _dataset(meta: _Elements, elements: _Elements, *, implicit: bool) -> Dataset:
    from pydicom.charset import convert_encodings, default_encoding
    from pydicom.dataelem import RawDataElement, convert_raw_data_element, empty_value_for_VR
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.tag import BaseTag

    def raw(found: _Elements, is_implicit: bool) -> dict[BaseTag, RawDataElement]:
        return {
            (name := BaseTag(tag)): RawDataElement(
                name,
                vr,
                length,
                value or cast("bytes | None", empty_value_for_VR(vr, raw=True)),
                start,
                is_implicit,
                True,
            )
            for tag, (vr, value, length, start) in found.items()
        }

    file_meta = FileMetaDataset(raw(meta, False))  # type: ignore[arg-type] # pydicom's own reader does so
    file_meta.set_original_encoding(False, True, default_encoding)
    converted = raw(elements, implicit)
    dataset = Dataset(converted)  # type: ignore[arg-type] # pydicom's own reader does so
    encoding: object = default_encoding
    if (character_set := converted.get(BaseTag(CHARACTER_SET))) is not None:
        encoding = convert_encodings(convert_raw_data_element(character_set).value)
    dataset.set_original_encoding(implicit, True, encoding)  # type: ignore[arg-type]
    dataset.file_meta = file_meta
    return dataset
