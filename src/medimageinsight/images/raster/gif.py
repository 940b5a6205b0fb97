"""Count the frames of a GIF by its blocks, without decoding any (GIF89a specification, 17 to 27)."""

from __future__ import annotations

_HEADER = 13  # signature and logical screen descriptor
_EXTENSION, _IMAGE = 0x21, 0x2C


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as a GIF file."""
    return data.startswith((b"GIF87a", b"GIF89a"))


def count_frames(data: bytes, maximum: int) -> int:
    """Return the number of images of a GIF, at most ``maximum``; what follows damage is not counted."""
    count = 0
    try:
        position = _HEADER + _color_table_bytes(data[10])
        while count < maximum:
            block = data[position]
            if block == _EXTENSION:
                position += 2
            elif block == _IMAGE:
                count += 1
                position += 11 + _color_table_bytes(data[position + 9])  # descriptor, table, code size
            else:  # the trailer
                break
            while length := data[position]:
                position += 1 + length
            position += 1
    except IndexError:  # cut off
        pass
    return max(1, count)


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
