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
_MAX_NUMBERS = 1 << 19  # offset and size of the strips of the largest accepted page, twice


def is_tiff(data: bytes) -> bool:
    """Return whether the bytes begin as a TIFF or BigTIFF file."""
    return data.startswith(_CLASSIC + _BIG)


def count_pages(data: bytes, maximum: int) -> int:
    """Return the number of pages, at most ``maximum``."""
    return sum(1 for _ in islice(_offsets(data), maximum))


def select_page(data: bytes, page: int) -> bytes | None:
    """Return the file with a page as its first, so that readers need not walk to it; None if it has fewer pages."""
    if page == 0:
        return data
    offset = next(islice(_offsets(data), page, None), None)
    if offset is None:
        return None
    layout = _Layout.of(data)
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

    @classmethod
    def of(cls, data: bytes) -> _Layout:
        order = "<" if data.startswith(b"II") else ">"
        if data.startswith(_BIG):
            pointer, position, count, entry, entry_bytes = "Q", 8, "Q", "HHQ", 20
        else:
            pointer, position, count, entry, entry_bytes = "I", 4, "H", "HHI", 12
        return cls(
            pointer=struct.Struct(order + pointer),
            position=position,
            count=struct.Struct(order + count),
            entry=struct.Struct(order + entry),
            entry_bytes=entry_bytes,
        )


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
