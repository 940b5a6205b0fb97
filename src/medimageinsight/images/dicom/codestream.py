"""Read the size and completeness of a compressed frame from its markers, before decoding."""

from __future__ import annotations

import struct

_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ, ISO/IEC 15444-1 A.4.1, A.5.1
_JPEG_START = b"\xff\xd8"
_END = b"\xff\xd9"  # EOI of JPEG and JPEG-LS, EOC of JPEG 2000
# ISO/IEC 10918-1 table B.1: frame headers, without DHT (C4), JPG (C8) and DAC (CC); F7 is JPEG-LS (14495-1 C.1.1)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}


def frame_size(frame: bytes) -> tuple[int, int] | None:
    """Return the width and height that a JPEG, JPEG-LS or JPEG 2000 codestream declares; None for anything else."""
    start = frame.find(_J2K_START, 0, 4096)  # after the boxes of a JP2 file, which some writers include
    if start >= 0 and len(frame) >= start + 24:
        x, y, x_offset, y_offset = struct.unpack_from(">4I", frame, start + 8)
        return x - x_offset, y - y_offset
    if frame.startswith(_JPEG_START):
        return _jpeg_size(frame)
    return None


def is_complete(frame: bytes) -> bool:
    """Return whether a JPEG, JPEG-LS or JPEG 2000 codestream reaches its end marker, padding aside."""
    return frame.rstrip(b"\x00\xff").endswith(_END)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", frame, position + 5)
            return width, height
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    return None
