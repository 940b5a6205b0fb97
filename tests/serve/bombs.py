"""Small files that announce or unpack to very many pixels, frames or bytes."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from tests.images.dicom_datasets import make_dataset, to_file_bytes

if TYPE_CHECKING:
    from pydicom import Dataset

SIDE = 60_000  # pixels: 3.6 billion for each image


def gif(width: int, height: int, frames: int) -> bytes:
    """Return a GIF of a large screen, whose frames change a single pixel each."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x08\0\0\0\0"
    frame = control + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b"\x3b"


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a gray PNG of this size with other chunks before its pixels: 16 million."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = (b"IDAT", _deflate(bytes(1 << 24)))
    parts = [_chunk(*chunk) for chunk in ((b"IHDR", header), *chunks, pixels, (b"IEND", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def apng(width: int, height: int, frames: int) -> bytes:
    """Return an APNG whose frames have all the size of the image."""
    animation = (b"acTL", struct.pack(">II", frames, 0))
    controls = [
        (b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 1, 0, 0)) for number in range(frames)
    ]
    return png(width, height, animation, *controls)


def tiff(width: int, height: int, directories: int = 1) -> bytes:
    """Return a gray TIFF of one strip, with the same directory many times in a chain."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    strip = _deflate(bytes(1 << 16))
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in (*tags, (279, 4, len(strip))))
    size = 2 + len(entries) + 4
    first = 8 + len(strip)
    chain = [
        struct.pack("<H", len(tags) + 1)
        + entries
        + struct.pack("<I", first + size * number if number < directories else 0)
        for number in range(1, directories + 1)
    ]
    return b"II*\0" + struct.pack("<I", first) + strip + b"".join(chain)


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG whose header states another size than its pixels have."""
    encoded = io.BytesIO()
    Image.new("L", (8, 8)).save(encoded, "JPEG")
    content = bytearray(encoded.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width: int, height: int) -> bytes:
    """Return a BMP with run-length encoding, which ends after a few pixels."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 4, 0, 0, 2, 0)
    return b"BM" + struct.pack("<IHHI", 66, 0, 0, 62) + info + bytes(8) + b"\xff\0\0\x01"


def dicom(*, frames: int) -> bytes:
    """Return a DICOM file that announces many pixels or frames, and has few bytes of them."""
    return to_file_bytes(_dataset(Rows=SIDE, Columns=SIDE, NumberOfFrames=frames))


def encapsulated_dicom() -> bytes:
    """Return a DICOM file of a small size whose JPEG has a large one."""
    dataset = _dataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg(SIDE, SIDE)])
    dataset["PixelData"].is_undefined_length = True
    return to_file_bytes(dataset)


def deflated_dicom(inflated: int) -> bytes:
    """Return a DICOM file that inflates to so many bytes."""
    dataset = _dataset()
    dataset.PixelData = bytes(inflated)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return to_file_bytes(dataset)


@dataclass(frozen=True, kw_only=True)
class Bomb:
    """A file, and the code of its error."""

    content: bytes
    code: str = "image_too_large"
    frame: int = 0  # the first one of some files is within the limits


@cache
def make_bombs(max_bytes: int) -> dict[str, Bomb]:
    """Return bombs by name.

    Args:
        max_bytes: Largest image that the server accepts, in bytes.
    """
    wide = 16_000  # over the limit of pixels, and within those of the formats
    text = (b"zTXt", b"Comment\0\0" + _deflate(bytes(1 << 24)))
    return {
        "apng": Bomb(content=apng(wide, wide, 100)),
        "bmp": Bomb(content=bmp(SIDE, SIDE)),
        "dicom": Bomb(content=dicom(frames=1)),
        "dicom-deflated": Bomb(content=deflated_dicom(2 * max_bytes)),
        "dicom-encapsulated": Bomb(content=encapsulated_dicom(), code="image_inconsistent"),
        "dicom-frames": Bomb(content=dicom(frames=2**31 - 1)),
        "gif": Bomb(content=gif(SIDE, SIDE, 1)),
        "gif-frames": Bomb(content=gif(wide, wide, 100)),
        "gif-last-frame": Bomb(content=gif(13_000, 13_000, 100), frame=99),
        "jpeg": Bomb(content=jpeg(SIDE, SIDE)),
        "pgm": Bomb(content=b"P5 %d %d 255\n" % (SIDE, SIDE)),
        "png": Bomb(content=png(SIDE, SIDE)),
        "png-text": Bomb(content=png(8, 8, *[text] * 20), code="image_truncated"),
        "tiff": Bomb(content=tiff(SIDE, SIDE)),
        "tiff-directories": Bomb(content=tiff(SIDE, SIDE, 10_000)),
    }


def _dataset(**elements: object) -> Dataset:
    return make_dataset(np.zeros((8, 8), np.uint8), **elements)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def _deflate(data: bytes) -> bytes:
    return zlib.compress(data, 9)
