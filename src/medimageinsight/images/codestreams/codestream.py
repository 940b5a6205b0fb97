"""Describe a compressed frame by its own markers, before it is decoded."""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass

from medimageinsight.images.codestreams import jpeg_2000

_JPEG_START = b"\xff\xd8"  # SOI
# A marker: what follows FF in compressed data is a stuffed 00 (JPEG) or below 80 (JPEG-LS), or a restart marker.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_EOI, _SOS, _APP0, _APP14 = 0xD9, 0xDA, 0xE0, 0xEE
# ISO/IEC 10918-1 table B.1: frame headers, without DHT (C4), JPG (C8) and DAC (CC); F7 is JPEG-LS (14495-1 C.1.1)
_JPEG_LS_FRAME = 0xF7
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_JPEG_LS_FRAME}
_BLOCK = 64  # samples that lossy JPEG codes together (ISO/IEC 10918-1 A.1.1); colours may have fewer blocks
_MAX_SEGMENTS = 1 << 16  # of JPEG: those of 64 kB fill the largest file
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


class Coding(enum.Enum):
    """The standard that a codestream follows."""

    JPEG = "JPEG"
    JPEG_LOSSLESS = "lossless JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    OTHER_JPEG = "hierarchical JPEG, or lossless JPEG with arithmetic coding"
    OTHER_JPEG_2000 = "JPEG 2000 with colours subsampled in another way than 4:2:2 or 4:2:0"


_CODING_BY_FRAME_HEADER = {
    0xC0: Coding.JPEG,
    0xC1: Coding.JPEG,
    0xC2: Coding.JPEG,
    0xC9: Coding.JPEG,
    0xCA: Coding.JPEG,
    0xC3: Coding.JPEG_LOSSLESS,
    _JPEG_LS_FRAME: Coding.JPEG_LS,
}


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What the markers of a codestream state, which is what its decoder follows."""

    coding: Coding
    width: int
    height: int
    samples: int  # components
    precision: int  # bits of a sample
    signed: bool = False
    start: int = 0  # offset of the first marker
    end: int | None = None  # offset after the last byte that matters; None if it is cut off
    component_ids: tuple[int, ...] = ()
    subsampled: bool = False  # whether components differ in resolution
    jfif: bool = False  # a JFIF marker: colours are YCbCr
    adobe_transform: int | None = None  # of an Adobe marker: 0 is RGB, 1 is YCbCr
    scans: int = 1
    tiles: int = 1
    blocks: int = 0  # of JPEG 2000: precincts and code-blocks, about
    packets: int = 0  # of JPEG 2000: about

    @property
    def is_complete(self) -> bool:
        """Return whether the end is there, and enough before it: in JPEG, a bit for each sample or block of samples."""
        if self.end is None:
            return False
        pixels = self.width * self.height
        bits = {Coding.JPEG_LOSSLESS: pixels * self.samples, Coding.JPEG: pixels // _BLOCK}.get(self.coding, 0)
        return 8 * (self.end - self.start) >= bits


def read_codestream(data: bytes) -> Codestream | None:
    """Return what a JPEG, JPEG-LS or JPEG 2000 codestream states; None for anything else or without a frame header.

    Boxes of a JP2 file around the codestream, which some writers include (PS3.5 A.4.4 forbids them), are skipped.
    """
    if data.startswith(_JPEG_START):
        return _read_jpeg(data)
    start = data.find(jpeg_2000.START) if data.startswith((jpeg_2000.START, _JP2_SIGNATURE)) else -1
    return _read_jpeg_2000(data, start) if start >= 0 else None


def starts_codestream(data: bytes) -> bool:
    """Return whether the bytes are the beginning of a JPEG, JPEG-LS or JPEG 2000 codestream or of a JP2 file."""
    return data.startswith((b"\xff\xd8\xff", jpeg_2000.START, _JP2_SIGNATURE))


def _read_jpeg_2000(data: bytes, start: int) -> Codestream | None:
    size = jpeg_2000.read_size(data, start)
    if size is None:
        return None
    extent = jpeg_2000.read_extent(data, start, size)
    return Codestream(
        coding=Coding.JPEG_2000 if size.displayable else Coding.OTHER_JPEG_2000,
        width=size.width,
        height=size.height,
        samples=size.samples,
        precision=size.precision,
        signed=size.signed,
        subsampled=size.subsampled,
        start=start,
        end=extent.end,
        tiles=size.tiles,
        blocks=extent.blocks,
        packets=extent.packets,
    )


def _read_jpeg(data: bytes) -> Codestream | None:
    """Read the segments of a JPEG or JPEG-LS image; those with a length are skipped whole, thumbnails included."""
    header, marker_of_header = b"", 0
    end, scans = None, 0
    jfif, adobe_transform = False, None
    position = len(_JPEG_START)
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            break
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            end = position
            break
        if len(data) < position + 2:
            break
        segment = data[position + 2 : position + struct.unpack_from(">H", data, position)[0]]
        position += 2 + len(segment)
        if marker in _FRAME_HEADERS and not header:
            header, marker_of_header = segment, marker
        elif marker == _SOS:
            scans += 1
        elif marker == _APP0 and segment.startswith(b"JFIF"):
            jfif = True
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe_transform = segment[11]
    if len(header) < 6 or len(header) < 6 + 3 * header[5]:
        return None
    precision, height, width, samples = struct.unpack_from(">BHHB", header)
    components = [header[6 + 3 * i : 9 + 3 * i] for i in range(samples)]
    return Codestream(
        coding=_CODING_BY_FRAME_HEADER.get(marker_of_header, Coding.OTHER_JPEG),
        width=width,
        height=height,
        samples=samples,
        precision=precision,
        end=end if scans else None,
        component_ids=tuple(component[0] for component in components),
        subsampled=len({component[1] for component in components}) > 1,
        jfif=jfif,
        adobe_transform=adobe_transform,
        scans=scans,
    )
