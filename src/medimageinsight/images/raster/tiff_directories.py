"""Follow the chain of a TIFF file's directories, one for each page (TIFF 6.0 section 2, BigTIFF)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSIC, _BIG = (b"II*\x00", b"MM\x00*"), (b"II+\x00", b"MM\x00+")
_BYTE_TYPES = (1, 2, 6, 7)  # BYTE, ASCII, SBYTE, UNDEFINED: TIFF 6.0 section 2
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SEGMENTS = {273: 279, 324: 325}  # offsets of strips and tiles, and their bytes
_REFERRING = {288, 513, 519, 520, 521}  # other offsets of pixels: free bytes, JPEG as of TIFF 6.0 section 22
_MAX_NUMBERS = 1 << 19  # offset and size of the strips of the largest accepted page, twice


def is_tiff(data: bytes) -> bool:
    """Return whether the bytes begin as a TIFF or BigTIFF file."""
    return data.startswith(_CLASSIC + _BIG)


def count_pages(data: bytes, maximum: int) -> int:
    """Return the number of pages, at most ``maximum``."""
    return sum(1 for _ in islice(_offsets(data), maximum))


def page_offsets(data: bytes, maximum: int) -> list[int]:
    """Return the offset of each page's directory, of at most ``maximum`` pages."""
    return list(islice(_offsets(data), maximum))


def select_page(data: bytes, page: int) -> bytes | None:
    """Return a file with one page as its first, see `isolate_page`; None if the file has fewer pages."""
    if page == 0:
        return data
    offset = next(islice(_offsets(data), page, None), None)
    return None if offset is None else isolate_page(data, offset)


def isolate_page(data: bytes, offset: int) -> bytes:
    """Return a file whose first page has its directory at an offset, so that readers need not walk to it.

    It has no more than this page where the directory describes all that belongs to it; else everything.
    """
    layout = _Layout.of(data)
    try:
        alone = _copy_page(data, offset, layout)
    except (struct.error, ValueError, OverflowError, KeyError):  # damaged, or of a kind that refers elsewhere
        alone = None
    if alone is not None:
        return alone
    return data[: layout.position] + layout.pointer.pack(offset) + data[layout.position + layout.pointer.size :]


def check_tags(data: bytes) -> None:
    """Reject a first directory with more values than a page of any size has use for: readers load them all.

    Raises:
        ImageError: ``image_too_large``.
    """
    layout = _Layout.of(data)
    offset = next(_offsets(data), None)
    if offset is None:
        return
    position, numbers, texts = offset + layout.count.size, 0, 0
    for _ in range(layout.count.unpack_from(data, offset)[0]):
        if position + layout.entry.size > len(data):
            break
        _, kind, count = layout.entry.unpack_from(data, position)
        position += layout.entry_bytes
        if kind in _BYTE_TYPES:
            texts += count
        else:
            numbers += count
    if numbers > _MAX_NUMBERS or texts > len(data):
        raise ImageError(
            f"expected a TIFF page with at most {_MAX_NUMBERS:,} values in its tags, got {numbers + texts:,}: "
            "save it with larger strips or tiles",
            code="image_too_large",
        )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The sizes that differ between TIFF and BigTIFF, in the byte order of a file."""

    pointer: struct.Struct
    position: int  # of the pointer to the first directory
    count: struct.Struct  # the number of entries at the start of a directory
    entry: struct.Struct  # the tag, type and number of values of an entry
    entry_bytes: int
    offset_kind: int  # the type of an offset

    def value(self, data: bytes, kind: int, number: int, at: int) -> bytes:
        """Return the bytes of the values of an entry whose field is at an offset; raises for those beyond the file."""
        size = _TYPE_BYTES[kind] * number
        begin = at if size <= self.pointer.size else self.pointer.unpack_from(data, at)[0]
        if begin + size > len(data):
            raise ValueError(begin)
        return data[begin : begin + size]

    def numbers(self, data: bytes, kind: int, number: int, at: int) -> tuple[int, ...]:
        """Return the unsigned values of an entry."""
        order = self.pointer.format[0]
        return struct.unpack(f"{order}{number}{_UNSIGNED[kind]}", self.value(data, kind, number, at))

    @classmethod
    def of(cls, data: bytes) -> _Layout:
        order = "<" if data.startswith(b"II") else ">"
        if data.startswith(_BIG):
            pointer, position, count, entry, entry_bytes, offset_kind = "Q", 8, "Q", "HHQ", 20, 16
        else:
            pointer, position, count, entry, entry_bytes, offset_kind = "I", 4, "H", "HHI", 12, 4
        return cls(
            pointer=struct.Struct(order + pointer),
            position=position,
            count=struct.Struct(order + count),
            entry=struct.Struct(order + entry),
            entry_bytes=entry_bytes,
            offset_kind=offset_kind,
        )


def _copy_page(data: bytes, offset: int, layout: _Layout) -> bytes | None:
    """Return a file with a copy of one page; None for one with offsets that are not known, or beyond the file."""
    count = layout.count.unpack_from(data, offset)[0]
    first = offset + layout.count.size
    if first + count * layout.entry_bytes > len(data):
        return None
    start = layout.position + layout.pointer.size
    body = start + layout.count.size + count * layout.entry_bytes + layout.pointer.size
    fields = [first + index * layout.entry_bytes + layout.entry.size for index in range(count)]
    entries = {}  # by tag: type, number of values, position of the field
    for at in fields:
        tag, kind, number = layout.entry.unpack_from(data, at - layout.entry.size)
        entries[tag] = kind, number, at
    if len(entries) < count or _REFERRING & {*entries}:
        return None
    head = bytearray(data[: layout.position] + layout.pointer.pack(start) + layout.count.pack(count))
    tail = bytearray()
    for tag, (kind, number, at) in entries.items():
        value, stored_kind = layout.value(data, kind, number, at), kind
        if tag in _SEGMENTS:
            offsets = []
            lengths = layout.numbers(data, *entries[_SEGMENTS[tag]])
            for begin, length in zip(layout.numbers(data, kind, number, at), lengths, strict=True):
                offsets.append(body + len(tail))
                tail += data[begin : begin + length]
                if begin + length > len(data) or len(tail) > len(data):
                    return None
            value, stored_kind = b"".join(map(layout.pointer.pack, offsets)), layout.offset_kind
        if len(value) > layout.pointer.size:
            tail += bytes(len(tail) % 2)
            position = body + len(tail)
            tail += value
            value = layout.pointer.pack(position)
        head += layout.entry.pack(tag, stored_kind, number) + value.ljust(layout.pointer.size, b"\0")
    return bytes(head + layout.pointer.pack(0) + tail)


def _offsets(data: bytes) -> Iterator[int]:
    """Yield the offset of each directory; a chain that is broken or returns to itself ends."""
    layout = _Layout.of(data)
    position = layout.position
    seen: set[int] = set()
    while position + layout.pointer.size <= len(data):
        offset = layout.pointer.unpack_from(data, position)[0]
        if offset == 0 or offset in seen or offset + layout.count.size > len(data):
            return
        seen.add(offset)
        yield offset
        position = offset + layout.count.size + layout.count.unpack_from(data, offset)[0] * layout.entry_bytes
