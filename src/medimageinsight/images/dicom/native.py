"""Decode uncompressed and run-length encoded frames, with pydicom's decoders."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.uid import UID

    from medimageinsight.images.dicom.pixel_description import PixelDescription

RLE_HEADER_BYTES = 64  # PS3.5 G.5: the number of segments and the offsets of up to 15


def decode_native(data: bytes, description: PixelDescription, frame: int, syntax: UID, vr: str = "OW") -> NDArray[Any]:
    """Return one frame of uncompressed data, (H, W) or (H, W, samples); YBR_*_422 with its chrominance doubled."""
    from pydicom.pixels.decoders.base import get_decoder

    if description.allocated == 12:
        return _extract(_unpack_12_bits(data, description, frame, syntax), description)
    options = {**_options(description), "allow_excess_frames": False, "pixel_vr": vr}
    samples, _ = get_decoder(syntax).as_array(data, index=frame, raw=True, **options)
    return samples if description.keyword != "PixelData" else _extract(samples, description)


def decode_rle(data: bytes, description: PixelDescription) -> NDArray[Any]:
    """Return the samples of one run-length encoded frame (PS3.5 G), (H, W) or (H, W, samples)."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import RLELossless

    pixels = description.rows * description.columns
    packed = description.allocated == 1  # 8 pixels in a byte, from the lowest bit
    options = {**_options(replace(description, frames=1)), "correct_unused_bits": False}
    if packed:
        options |= {"rows": 1, "columns": -(-pixels // 8), "bits_allocated": 8, "bits_stored": 8}
    samples, _ = get_decoder(RLELossless).as_array(
        encapsulate([data]), index=0, raw=True, decoding_plugin="pydicom", **options
    )
    if packed:
        bits = np.unpackbits(samples.ravel(), bitorder="little", count=pixels)
        return bits.reshape(description.rows, description.columns)
    return _extract(samples, description)


def rle_segments(data: bytes) -> int:
    """Return the number of segments of a run-length encoded frame; 0 if it is none."""
    if len(data) < RLE_HEADER_BYTES:
        return 0
    segments, first = struct.unpack_from("<2I", data)
    return segments if segments <= 15 and first == RLE_HEADER_BYTES else 0


def extract_bits(samples: NDArray[Any], *, bits: int, high_bit: int, signed: bool) -> NDArray[Any]:
    """Return the integers in the ``bits`` up to ``high_bit``, in two's complement if signed (PS3.5 8.1.1)."""
    size = 8 * samples.dtype.itemsize
    values = samples.astype(f"{'i' if signed else 'u'}{samples.dtype.itemsize}", copy=False)
    left, right = size - 1 - high_bit, size - bits
    if not (left or right):
        return values
    values = values << left
    values >>= right
    return values


def _unpack_12_bits(data: bytes, description: PixelDescription, frame: int, syntax: UID) -> NDArray[np.uint16]:
    """Return the samples of a frame of 12 bits allocated, two in three bytes, from the lowest bit (PS3.5-1998 annex D).

    Raises:
        ValueError: For planes of colour, which such files do not have.
    """
    if description.planar and description.samples > 1:
        raise ValueError("planes")
    count = description.rows * description.columns * description.samples
    first = frame * count
    start, end = first // 2 * 3, -(-(first + count) * 3 // 2)
    words = np.frombuffer(data[start // 2 * 2 : -(-end // 2) * 2], "<u2" if syntax.is_little_endian else ">u2")
    packed = words.astype("<u2").view(np.uint8)[start % 2 :].astype(np.uint16)
    low, middle, high = (packed[offset::3] for offset in range(3))
    samples = np.zeros(2 * len(low), np.uint16)
    samples[0::2][: len(middle)] = low[: len(middle)] | (middle & 0x0F) << 8
    samples[1::2][: len(high)] = middle[: len(high)] >> 4 | high << 4
    shape = (description.rows, description.columns, description.samples)
    unpacked = samples[first % 2 : first % 2 + count].reshape(shape)
    return unpacked[..., 0] if description.samples == 1 else unpacked


def _extract(samples: NDArray[Any], description: PixelDescription) -> NDArray[Any]:
    if description.allocated == 1:
        return samples
    return extract_bits(samples, bits=description.stored, high_bit=description.high_bit, signed=description.signed)


def _options(description: PixelDescription) -> dict[str, Any]:
    grey_or_rgb = "MONOCHROME2" if description.samples == 1 else "RGB"
    return {
        "rows": description.rows,
        "columns": description.columns,
        "number_of_frames": description.frames,
        "samples_per_pixel": description.samples,
        # the same layout has the same name here
        "photometric_interpretation": "YBR_FULL_422" if description.is_subsampled else grey_or_rgb,
        "bits_allocated": description.allocated,
        "bits_stored": description.allocated,  # unused bits are removed by `extract_bits`
        "pixel_representation": int(description.signed),
        "planar_configuration": int(description.planar),
        "pixel_keyword": description.keyword,
    }
