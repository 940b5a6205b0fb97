"""Find one frame in encapsulated pixel data (PS3.5 A.4), with or without a correct offset table."""

from __future__ import annotations

import operator
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.images.codestreams import starts_codestream
from medimageinsight.images.dicom.native import RLE_HEADER_BYTES, rle_segments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ITEM_TAG = b"\xfe\xff\x00\xe0"
_ITEM_HEADER = 8  # bytes of the tag and the length


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The compressed bytes of one frame."""

    data: bytes
    offset_table_ignored: bool = False  # it contradicts the fragments


def is_encapsulated(data: bytes) -> bool:
    """Return whether the pixel data begin with an item tag rather than with pixels."""
    return data.startswith(_ITEM_TAG)


def find_frame(data: bytes, frame: int, frames: int, extended_offsets: Sequence[int] = ()) -> Frame | None:
    """Return one frame of encapsulated pixel data; None where the fragments do not contain it.

    Only the frame is copied. An offset table that contradicts the fragments is ignored, as if it were empty.

    Args:
        data: The value of PixelData; its first item is the basic offset table.
        frame: Index of the frame, from 0.
        frames: Number of frames that the header states.
        extended_offsets: Those of ExtendedOffsetTable, if there are any (PS3.3 C.7.6.3.1.8).
    """
    table_start, table_end = next(_items(data, 0), (len(data), len(data)))
    table = data[table_start:table_end]
    basic_offsets = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
    for offsets in (extended_offsets, basic_offsets):
        if fragments := _fragments_by_table(data, table_end, offsets, frame, frames):
            return Frame(data=_join(data, fragments))
    fragments = list(_items(data, table_end))
    starts = _first_fragments(data, fragments, frames)
    if starts is None:
        return None
    first, end = [*starts, len(fragments)][frame : frame + 2]
    return Frame(data=_join(data, fragments[first:end]), offset_table_ignored=bool(extended_offsets or basic_offsets))


def find_offsets(data: bytes, frames: int) -> tuple[int, ...]:
    """Return what an extended offset table of the frames has; nothing if there is a table, or no way to find them."""
    table_start, table_end = next(_items(data, 0), (len(data), len(data)))
    if table_end > table_start:
        return ()
    fragments = list(_items(data, table_end))
    starts = _first_fragments(data, fragments, frames) or []
    return tuple(fragments[start][0] - _ITEM_HEADER - table_end for start in starts)


def _items(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each item's value from an offset on; the last may be cut off."""
    while data.startswith(_ITEM_TAG, position) and position + _ITEM_HEADER <= len(data):
        length = struct.unpack_from("<I", data, position + 4)[0]
        position += _ITEM_HEADER
        yield position, min(position + length, len(data))
        position += length


def _join(data: bytes, fragments: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(data[start:end] for start, end in fragments)


def _fragments_by_table(
    data: bytes, origin: int, offsets: Sequence[int], frame: int, frames: int
) -> list[tuple[int, int]]:
    """Return the fragments between a frame's offset and the next; none where the table contradicts the fragments.

    A correct table has an increasing offset for each frame, from the end of the basic offset table to the item of the
    frame's first fragment (PS3.5 A.4).
    """
    if len(offsets) != frames or offsets[0] != 0 or not all(map(operator.lt, offsets, offsets[1:])):
        return []
    start = origin + offsets[frame]
    end = origin + offsets[frame + 1] if frame + 1 < frames else len(data)
    fragments = []
    for fragment in _items(data, start):
        if fragment[0] > end:
            break
        fragments.append(fragment)
    ends_at_item = bool(fragments) and fragments[-1][1] == end and data.startswith(_ITEM_TAG, end)
    return fragments if frame + 1 == frames or ends_at_item else []


def _first_fragments(data: bytes, fragments: Sequence[tuple[int, int]], frames: int) -> list[int] | None:
    """Return the index of each frame's first fragment without a table; None if the fragments do not tell."""
    if len(fragments) == frames:
        return list(range(frames))
    starts = [index for index, (start, end) in enumerate(fragments) if _starts_frame(data, start, end)]
    if len(starts) == frames and starts[0] == 0:
        return starts
    return [0] if frames == 1 and fragments else None


def _starts_frame(data: bytes, start: int, end: int) -> bool:
    beginning = data[start : min(end, start + RLE_HEADER_BYTES)]
    return starts_codestream(beginning) or rle_segments(beginning) > 0
