"""Find one frame in encapsulated pixel data (PS3.5 A.4), with or without a correct offset table."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from medimageinsight.images.dicom.codestream import starts_codestream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ITEM, _ITEM_HEADER = 0xE000FFFE, 8
_SIGNATURE_LENGTH = 12  # bytes that `starts_codestream` looks at


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The compressed bytes of one frame."""

    data: bytes
    offset_table_ignored: bool = False  # it contradicts the fragments


def is_encapsulated(data: bytes) -> bool:
    """Return whether the pixel data begin with an item tag rather than with pixels."""
    return data.startswith(struct.pack("<I", _ITEM))


def find_frame(data: bytes, frame: int, frames: int, extended_offsets: Sequence[int] = ()) -> Frame | None:
    """Return one frame of encapsulated pixel data; None where the fragments do not contain it.

    Only the headers of the items are read, and only the frame is copied. A usable offset table has an entry for each
    frame, increasing, each at the first fragment of a frame (PS3.5 A.4); any other table is ignored, as if it were
    empty.

    Args:
        data: The value of PixelData; its first item is the basic offset table.
        frame: Index of the frame, from 0.
        frames: Number of frames that the header states.
        extended_offsets: Those of ExtendedOffsetTable, if there are any (PS3.3 C.7.6.3.1.8).
    """
    items = list(_items(data))
    if not items:
        return None
    (table_start, table_end), fragments = items[0], items[1:]
    table = data[table_start : table_end - (table_end - table_start) % 4]
    basic_offsets = struct.unpack(f"<{len(table) // 4}I", table)
    index = None
    for offsets in (extended_offsets, basic_offsets):
        index = index or _first_fragments(fragments, offsets, frames)
    usable = index is not None
    index = index or _guess_first_fragments(data, fragments, frames)
    if index is None or frame >= len(index):
        return None
    first, end = [*index, len(fragments)][frame : frame + 2]
    return Frame(
        data=b"".join(data[start:stop] for start, stop in fragments[first:end]),
        offset_table_ignored=not usable and bool(extended_offsets or basic_offsets),
    )


def _items(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each item's value; the last may be cut off."""
    position = 0
    while position + _ITEM_HEADER <= len(data):
        tag, length = struct.unpack_from("<II", data, position)
        if tag != _ITEM:
            return  # the sequence delimiter, or damage
        position += _ITEM_HEADER
        yield position, min(position + length, len(data))
        position += length


def _first_fragments(fragments: Sequence[tuple[int, int]], offsets: Sequence[int], frames: int) -> list[int] | None:
    """Return the index of each frame's first fragment by an offset table; None if the table is unusable."""
    if len(offsets) != frames or not fragments or any(later <= earlier for earlier, later in pairwise(offsets)):
        return None
    index_by_offset = {start - fragments[0][0]: index for index, (start, _) in enumerate(fragments)}
    index = [index_by_offset.get(offset) for offset in offsets]
    return [number for number in index if number is not None] if index[0] == 0 and None not in index else None


def _guess_first_fragments(data: bytes, fragments: Sequence[tuple[int, int]], frames: int) -> list[int] | None:
    """Return the index of each frame's first fragment without a table; None if the fragments do not tell."""
    starts = [
        index
        for index, (start, _) in enumerate(fragments)
        if starts_codestream(data[start : start + _SIGNATURE_LENGTH])
    ]
    if len(starts) == frames and starts[:1] == [0]:
        return starts
    if frames == 1 and fragments:
        return [0]
    return list(range(frames)) if len(fragments) == frames else None
