"""Decode the strips or tiles of a TIFF page, after a check of the work and memory that they need."""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images.arrays import image_bytes
from medimageinsight.images.codestreams import check_cost, read_codestream
from medimageinsight.images.raster import jpeg_xl
from medimageinsight.images.raster.errors import damaged, decoder_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

    from medimageinsight.images.limits import Limits

# Values of the tag Compression
_JPEG = 7
_JPEG_2000 = (33003, 33004, 33005, 34712)
_LERC = 34887
_PNG = 34933
_WEBP = (34927, 50001)
_JPEG_XL = (50002, 52546)
# none, CCITT, LZW, Deflate, PackBits, LZMA, Zstandard: their decoders are given the size of the result
_BYTE_STREAMS = (1, 2, 3, 4, 5, 8, 32946, 50013, 32773, 34925, 34926, 50000)
_END_OF_JPEG = b"\xff\xd9"
_MAX_SEGMENTS = 1 << 17  # each costs some ten microseconds
_MAX_PADDING = 4  # decoded pixels, padding of tiles included, for each pixel that a page may have
_LERC_PARAMETERS = 50674  # a tag: the version, and the compression around the segments


def is_known_compression(compression: int) -> bool:
    """Return whether the segments of a page can be decoded; only decoders that survive damaged data are used."""
    return compression in (_JPEG, *_JPEG_2000, _LERC, _PNG, *_WEBP, *_JPEG_XL, *_BYTE_STREAMS)


def has_codestreams(page: TiffPage) -> bool:
    """Return whether the segments of a page are images of their own, which Pillow reads for JPEG only."""
    return page.compression in (*_JPEG_2000, _LERC, _PNG, *_WEBP, *_JPEG_XL)


def check_segments(page: TiffPage, file_size: int, limits: Limits) -> None:
    """Reject a page whose segments are incomplete, or cost more time than its size explains.

    Raises:
        ImageError: ``image_truncated``, ``image_too_large``.
    """
    count, (height, width) = _count(page), _segment_size(page)
    if len(page.dataoffsets) < count or len(page.databytecounts) < count:
        raise damaged()
    encoded = sum(page.databytecounts[:count])
    decoded = count * height * width
    if (
        count > _MAX_SEGMENTS
        or decoded > _MAX_PADDING * limits.max_pixels
        # Segments may share their data, which are then decoded several times
        or encoded > file_size + decoded * page.samplesperpixel * 16
    ):
        raise ImageError(
            f"expected a TIFF page of at most {_MAX_SEGMENTS:,} strips or tiles that do not exceed its size, "
            f"got {count:,} of {width:,} x {height:,} pixels: save it with other strips or tiles",
            code="image_too_large",
        )


def needed_bytes(page: TiffPage) -> int:
    """Return the bytes that decoding needs at once, at most: the samples, one segment of them, and the image."""
    height, width = _segment_size(page)
    sample_bytes = _sample_bytes(page)
    in_decoder = 8 if page.compression in (*_JPEG_2000, *_JPEG_XL) else 2 * sample_bytes
    pixels = page.imagewidth * page.imagelength
    return (
        pixels * (page.samplesperpixel * sample_bytes + image_bytes(page.samplesperpixel))
        + height * width * page.samplesperpixel * in_decoder
    )


def decode_segments(data: bytes, page: TiffPage) -> NDArray[Any]:
    """Return the samples of a checked page, (separate samples, 1, H, W, contiguous samples), in its own dtype.

    Raises:
        ImageError: ``image_truncated``: a segment is missing, cut off, or larger than its share of the page.
    """
    samples = np.empty(page.shaped, page.dtype)
    for index in range(_count(page)):
        start, length = page.dataoffsets[index], page.databytecounts[index]
        segment = data[start : start + length]
        if not length or len(segment) < length:
            raise damaged()
        _, (plane, _, y, x, _), shape = page.decode(None, index)
        decoded = _decode(segment, page, index, shape)
        if decoded.dtype != samples.dtype:
            raise damaged()
        target = samples[plane, 0, y : y + shape[1], x : x + shape[2]]
        target[...] = decoded[0, : target.shape[0], : target.shape[1]]
    return samples


def decode_segment(segment: bytes, page: TiffPage, index: int) -> NDArray[Any]:
    """Return the samples of one strip or tile, (1, rows, columns, contiguous samples), with the padding of tiles.

    Raises:
        ImageError: ``image_truncated``: it is damaged or larger than its share of the page.
    """
    if page.jpegheader is not None:  # NDPI: the tiles are parts of one JPEG file, whose header is stored once
        segment = b"".join((page.jpegheader, segment, _END_OF_JPEG))
    with decoder_errors():
        return _decode(segment, page, index, page.decode(None, index)[2])


def _decode(segment: bytes, page: TiffPage, index: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the samples of a segment, (1, rows, columns, contiguous samples)."""
    if page.compression == _LERC:
        segment = _without_lerc_compression(segment, page)
    if page.compression not in _BYTE_STREAMS:
        height, width = _segment_size(page)
        stated_width, stated_height = _stated_size(segment, page.compression)
        if stated_width > width or stated_height > height:
            raise damaged()
    if page.compression == _JPEG:
        return _decode_jpeg(segment, page).reshape(1, -1, width, shape[3])
    decoded = page.decode(segment, index)[0]
    return np.asarray(decoded)


def _decode_jpeg(segment: bytes, page: TiffPage) -> NDArray[Any]:
    # tifffile would try ljpeg_decode for damaged data, which can end the process
    import imagecodecs
    from tifffile.tifffile import jpeg_decode_colorspace

    colour, output = jpeg_decode_colorspace(page.photometric, page.planarconfig, page.extrasamples, page.is_jfif)
    samples: NDArray[Any] = imagecodecs.jpeg8_decode(
        segment, tables=page.jpegtables, colorspace=colour, outcolorspace=output
    )
    return samples


def _stated_size(segment: bytes, compression: int) -> tuple[int, int]:
    """Return the width and height that an encoded image states: its decoder allocates these."""
    if compression == _JPEG or compression in _JPEG_2000:
        codestream = read_codestream(segment)
        if codestream is None or codestream.end is None:
            raise damaged()
        check_cost(codestream)
        return codestream.width, codestream.height
    if compression in _JPEG_XL:
        return jpeg_xl.read_size(segment)
    if compression in _WEBP:
        return _webp_size(segment)
    if compression == _PNG:
        width, height = struct.unpack_from(">II", segment, 16)
        return width, height
    return _lerc_size(segment)


def _webp_size(segment: bytes) -> tuple[int, int]:
    """Return the size in the first chunk of a WebP file (RFC 9649 2.5 to 2.7)."""
    kind = segment[12:16]
    if kind == b"VP8X":
        return int.from_bytes(segment[24:27], "little") + 1, int.from_bytes(segment[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(segment[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", segment, 26)
    return width & 0x3FFF, height & 0x3FFF


def _lerc_size(segment: bytes) -> tuple[int, int]:
    """Return the size in the header of a LERC2 blob; a segment is one blob."""
    if not segment.startswith(b"Lerc2 "):
        raise damaged()
    version = struct.unpack_from("<i", segment, 6)[0]
    start = 14 if version >= 3 else 10  # from version 3 after a checksum
    height, width = struct.unpack_from("<ii", segment, start)
    size = struct.unpack_from("<i", segment, start + (20 if version >= 4 else 16))[0]
    if size < len(segment) or height < 1 or width < 1:
        raise damaged()
    return width, height


def _without_lerc_compression(segment: bytes, page: TiffPage) -> bytes:
    """Return a LERC segment without the compression around it, of at most twice its share of the page."""
    import imagecodecs

    parameters = page.tags.valueof(_LERC_PARAMETERS)
    height, width = _segment_size(page)
    largest = 2 * height * width * page.samplesperpixel * _sample_bytes(page) + 1024
    match parameters[1] if isinstance(parameters, tuple) and len(parameters) > 1 else 0:
        case 1:  # Deflate
            return zlib.decompressobj().decompress(segment, largest)
        case 2:  # Zstandard
            return bytes(imagecodecs.zstd_decode(segment, out=largest))
        case _:
            return segment


def _sample_bytes(page: TiffPage) -> int:
    return 1 if page.dtype is None else page.dtype.itemsize


def _segment_size(page: TiffPage) -> tuple[int, int]:
    """Return the height and width of a full strip or tile."""
    if page.is_tiled:
        return max(1, page.tilelength), max(1, page.tilewidth)
    return max(1, page.rowsperstrip), page.imagewidth


def _count(page: TiffPage) -> int:
    """Return the number of strips or tiles of all planes."""
    height, width = _segment_size(page)
    planes = page.samplesperpixel if page.planarconfig != 1 else 1
    return planes * math.ceil(page.imagelength / height) * math.ceil(page.imagewidth / width)
