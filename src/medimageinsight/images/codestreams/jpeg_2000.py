"""Read the markers of a JPEG 2000 codestream (ISO/IEC 15444-1 annex A): its size, its end, and its cost to decode."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

START = b"\xff\x4f\xff\x51"  # SOC and SIZ, A.4.1 and A.5.1
END = b"\xff\xd9"  # EOC, A.4.4; no packet contains it: after FF comes at most 8F (B.10.1, C.2.2)
_SOT, _SOD, _COD, _COC = b"\xff\x90", b"\xff\x93", b"\xff\x52", b"\xff\x53"
_MAX_LEVELS = 32  # of decomposition, A.6.1
_LARGEST_PRECINCT = 0xFF  # exponents of height and width, 15 each: the default, A.6.1
# XRsiz and YRsiz of three components: 4:4:4, 4:2:2 and 4:2:0; OpenJPEG prints an error for others
_CONVERTED_SEPARATIONS = ([(1, 1)] * 3, [(1, 1), (2, 1), (2, 1)], [(1, 1), (2, 2), (2, 2)])
_TILE_PART_HEADER = 12  # bytes of the SOT marker segment, A.4.2


@dataclass(frozen=True, kw_only=True)
class Size:
    """The SIZ marker segment (A.5.1)."""

    width: int
    height: int
    samples: int
    precision: int  # bits of the first component
    signed: bool  # of the first component
    subsampled: bool  # whether a component has fewer pixels than the image
    displayable: bool  # whether it is grey, or colour at resolutions that OpenJPEG converts
    tiles: int


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The end of a codestream, and how finely it is divided."""

    end: int | None  # offset after the last byte that matters; None if it is cut off
    blocks: int  # precincts and code-blocks of all components, about
    packets: int  # layers times precincts of a component, about


@dataclass(frozen=True, kw_only=True)
class _CodingStyle:
    """The part of a COD or COC marker segment (A.6.1, A.6.2) that decides on the number of blocks."""

    layers: int
    levels: int
    block_width: int  # exponents of two, here and below
    block_height: int
    precincts: bytes  # of each resolution, from the lowest: width in the low, height in the high half; empty for 2**15


def read_size(data: bytes, start: int) -> Size | None:
    """Return the SIZ segment of the codestream that starts at an offset; None if it is incomplete or impossible."""
    if len(data) < start + 45:
        return None
    x, y, x_offset, y_offset, tile_x, tile_y, tile_x_offset, tile_y_offset, samples, depth = struct.unpack_from(
        ">8IHB", data, start + 8
    )
    if x <= x_offset or y <= y_offset or not tile_x or not tile_y or not samples:
        return None
    separations = _separations(data, start, samples)
    return Size(
        width=x - x_offset,
        height=y - y_offset,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        signed=depth >= 0x80,
        subsampled=any(separation != 1 for pair in separations for separation in pair),
        displayable=samples < 3 or separations[:3] in _CONVERTED_SEPARATIONS,
        tiles=max(1, -(-(x - tile_x_offset) // tile_x) * -(-(y - tile_y_offset) // tile_y)),
    )


def _separations(data: bytes, start: int, samples: int) -> list[tuple[int, int]]:
    """Return XRsiz and YRsiz of each component, which follow its Ssiz (A.5.1)."""
    components = data[start + 42 : start + 42 + 3 * samples]
    return list(zip(components[1::3], components[2::3], strict=False))


def read_extent(data: bytes, start: int, size: Size) -> Extent:
    """Follow the tile-parts to the end marker. Bytes after it do not matter.

    Without an end marker, which some writers omit, the codestream is whole if the data end with the end of a tile-part
    and contain each tile.
    """
    position, styles = _skip_segments(data, start + 2, _SOT)
    parts_left: dict[int, int] = {}  # by tile
    end = None
    while position is not None and data.startswith(_SOT, position) and position + _TILE_PART_HEADER <= len(data):
        tile, length, part, parts = struct.unpack_from(">HIBB", data, position + 4)
        # A.4.2: the number of parts may be given in one of them only
        parts_left[tile] = parts - part - 1 if parts else parts_left.get(tile, 0) - 1
        body, tile_styles = _skip_segments(data, position + _TILE_PART_HEADER, _SOD)
        styles += tile_styles
        if body is None:
            break
        position = max(position + length, body)
        if length and 0 <= len(data) - position < len(END):
            is_whole = len(parts_left) == size.tiles and not any(parts_left.values())
            end = position if is_whole else None
            break
        if not data.startswith((_SOT, END), position):
            # A.4.2: a length of 0 is that of the last tile-part, which reaches to the end marker
            position = data.find(END, body)
        if position >= body and data.startswith(END, position):
            end = position + len(END)
            break
    if not styles:
        return Extent(end=end, blocks=0, packets=0)
    finest = _finest(styles)
    blocks, precincts = _count_blocks(finest, size)
    return Extent(end=end, blocks=size.samples * blocks, packets=finest.layers * precincts)


def _skip_segments(data: bytes, position: int, until: bytes) -> tuple[int | None, list[_CodingStyle]]:
    """Return the offset of the first marker of a kind (None without one) and the coding styles before it."""
    styles: list[_CodingStyle] = []
    while not data.startswith(until, position):
        if len(data) < position + 4 or data[position] != 0xFF:
            return None, styles
        segment = data[position + 4 : position + 2 + struct.unpack_from(">H", data, position + 2)[0]]
        if data.startswith(_COD, position) and len(segment) >= 8:
            layers = struct.unpack_from(">H", segment, 2)[0]
            styles.append(_coding_style(segment[5:], layers, has_precincts=bool(segment[0] & 1)))
        elif data.startswith(_COC, position) and len(segment) >= 5:
            styles.append(_coding_style(segment[2:], 0, has_precincts=bool(segment[1] & 1)))
        position += 4 + len(segment)
    return position, styles


def _coding_style(parameters: bytes, layers: int, *, has_precincts: bool) -> _CodingStyle:
    return _CodingStyle(
        layers=layers,
        levels=min(parameters[0], _MAX_LEVELS),
        block_width=(parameters[1] & 0x0F) + 2,
        block_height=(parameters[2] & 0x0F) + 2,
        precincts=parameters[5 : 6 + _MAX_LEVELS] if has_precincts else b"",
    )


def _finest(styles: Sequence[_CodingStyle]) -> _CodingStyle:
    """Return a coding style with at least the blocks of any of these; a codestream may have one for each tile-part."""
    precincts = zip_longest(*(style.precincts for style in styles), fillvalue=_LARGEST_PRECINCT)
    return _CodingStyle(
        layers=max(style.layers for style in styles),
        levels=max(style.levels for style in styles),
        block_width=min(style.block_width for style in styles),
        block_height=min(style.block_height for style in styles),
        precincts=bytes(
            min(exponents & 0x0F for exponents in resolution) | min(exponents & 0xF0 for exponents in resolution)
            for resolution in precincts
        ),
    )


def _count_blocks(style: _CodingStyle, size: Size) -> tuple[int, int]:
    """Return the numbers of precincts and code-blocks together, and of precincts, of one component (B.6, B.7)."""
    blocks = precincts = 0
    for resolution in range(style.levels + 1):
        exponents = style.precincts[resolution] if resolution < len(style.precincts) else _LARGEST_PRECINCT
        horizontal, vertical = exponents & 0x0F, exponents >> 4
        width, height = (-(-extent >> (style.levels - resolution)) for extent in (size.width, size.height))
        precincts += _ceil_shift(width, horizontal) * _ceil_shift(height, vertical) + size.tiles
        # the sub-bands of all but the lowest resolution have half its width and height, so has their precinct
        half = int(resolution > 0)
        block_width, block_height = min(style.block_width, horizontal - half), min(style.block_height, vertical - half)
        blocks += _ceil_shift(width, max(block_width, 0)) * _ceil_shift(height, max(block_height, 0)) + size.tiles
    return blocks + precincts, precincts


def _ceil_shift(extent: int, exponent: int) -> int:
    return -(-extent >> exponent)
