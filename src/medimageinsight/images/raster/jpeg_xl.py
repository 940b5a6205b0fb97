"""Decode JPEG XL files (ISO/IEC 18181) with imagecodecs, after reading their size."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from medimageinsight.images.arrays import from_samples
from medimageinsight.images.budget import reserve
from medimageinsight.images.raster.errors import damaged, decoder_errors, unsupported
from medimageinsight.images.raster.jpeg import colour_of

if TYPE_CHECKING:
    from medimageinsight.images.decoded import DecodedImage
    from medimageinsight.images.limits import Limits
    from medimageinsight.images.window import WindowSelection

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_MAX_BOXES = 1000
_MAX_HEADER = 200  # bytes that contain the fields read here
_MAX_EXTRA_CHANNELS = 4
# Bytes of a pixel that libjxl and the image need: floats or integers of 32 bits for each channel where it cannot stream
_PIXEL_BYTES = 16
# 18181-1 D.2: offsets and bits of a height, and width to height by the field ``ratio``
_EXTENTS = ((1, 9), (1, 13), (1, 18), (1, 30))
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def matches(data: bytes) -> bool:
    """Return whether the bytes begin as a JPEG XL file."""
    return data.startswith((_CODESTREAM, _CONTAINER))


def decode(data: bytes, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    """Decode a JPEG XL file, of an animation the first frame; its orientation is applied, an alpha channel dropped.

    Raises:
        ImageError: ``image_truncated``, ``image_unsupported``, ``image_too_large``, ``image_window_not_applicable``.
    """
    import imagecodecs

    width, height = read_size(data)
    limits.check_size(width, height)
    with reserve(width * height * _PIXEL_BYTES, limits), decoder_errors():
        return from_samples(colour_of(imagecodecs.jpegxl_decode(data, index=0, numthreads=1)), window=window)


def read_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that the header states.

    Raises:
        ImageError: ``image_truncated``; ``image_unsupported`` for more extra channels than an image has use for.
    """
    bits = _Bits(_codestream(data)[len(_CODESTREAM) : _MAX_HEADER])
    height, width = _read_extent(bits)
    extra_channels = _read_extra_channels(bits)
    if extra_channels > _MAX_EXTRA_CHANNELS:  # the decoder allocates all of them
        raise unsupported(f"a JPEG XL file of {extra_channels:,} extra channels", "save it without them")
    return width, height


class _Bits:
    """The bits of a header, the lowest of a byte first (18181-1 annex B)."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = len(data) * 8

    def read(self, count: int) -> int:
        if count > self._left:
            raise damaged()
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value

    def read_choice(self, *choices: tuple[int, int]) -> int:
        """Return a number of the type U32: one of four pairs of an offset and a number of bits to add to it."""
        offset, count = choices[self.read(2)]
        return offset + self.read(count)


def _codestream(data: bytes) -> bytes:
    """Return the codestream, or its beginning, without the boxes of a container (18181-2)."""
    if data.startswith(_CODESTREAM):
        return data
    position = 0
    for _ in range(_MAX_BOXES):
        if position + 16 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            length, header = struct.unpack_from(">Q", data, position + 8)[0], 16
        if kind in (b"jxlc", b"jxlp"):
            start = position + header + (4 if kind == b"jxlp" else 0)  # a part begins with its index
            if data.startswith(_CODESTREAM, start):
                return data[start : start + _MAX_HEADER]
        if length < header:
            break
        position += length
    raise damaged()


def _read_extent(bits: _Bits) -> tuple[int, int]:
    """Read the bundle SizeHeader: height and width (18181-1 D.2)."""
    if bits.read(1):
        height = (bits.read(5) + 1) * 8
        ratio = bits.read(3)
        width = height if ratio else (bits.read(5) + 1) * 8
    else:
        height = bits.read_choice(*_EXTENTS)
        ratio = bits.read(3)
        width = height if ratio else bits.read_choice(*_EXTENTS)
    if ratio:
        numerator, denominator = _RATIOS[ratio]
        width = height * numerator // denominator
    return height, width


def _read_extra_channels(bits: _Bits) -> int:
    """Read the bundle ImageMetadata up to the number of extra channels (18181-1 D.3)."""
    if bits.read(1):  # all default
        return 0
    if bits.read(1):
        bits.read(3)  # orientation
        if bits.read(1):  # intrinsic size
            _read_extent(bits)
        if bits.read(1):  # preview
            _read_preview(bits)
        if bits.read(1):  # animation
            bits.read_choice((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.read_choice((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.read_choice((0, 0), (0, 3), (0, 16), (0, 32))
            bits.read(1)
    if bits.read(1):  # float samples
        bits.read_choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.read(4)
    else:
        bits.read_choice((8, 0), (10, 0), (12, 0), (1, 6))
    bits.read(1)  # modular buffers of 16 bits
    return bits.read_choice((0, 0), (1, 0), (2, 4), (1, 12))


def _read_preview(bits: _Bits) -> None:
    extents = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.read(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.read_choice(*extents)
    if not bits.read(3):
        bits.read_choice(*extents)
