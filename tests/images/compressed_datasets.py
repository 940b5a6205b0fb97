"""Datasets with compressed frames that the tests encode, and their stored values."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID

from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.images.dicom.pixel_data import decode_pixel_data
from medimageinsight.images.limits import Limits
from tests.images.dicom_datasets import make_dataset

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LIMITS = Limits()
GREY = (np.add.outer(np.arange(48) * 3, np.arange(64)) % 256).astype(np.uint8)
DEEP = (np.add.outer(np.arange(48) * 61, np.arange(64) * 37) % 4096).astype(np.uint16)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
YBR = convert_color_space(RGB, "RGB", "YBR_FULL")


def compress(codestream: bytes | list[bytes], pixels: np.ndarray, syntax: str, **elements: object) -> Dataset:
    """Return a dataset whose header describes ``pixels``, with other bytes as its compressed frames."""
    frames = codestream if isinstance(codestream, list) else [codestream]
    dataset = make_dataset(pixels, **elements)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    return dataset


def stored_values(dataset: Dataset, frame: int = 0) -> np.ndarray:
    with suppress_decoder_warnings():
        return decode_pixel_data(dataset, frame=frame, limits=LIMITS).values


def warning_codes(dataset: Dataset, frame: int = 0) -> list[str]:
    with suppress_decoder_warnings():
        return [warning.code for warning in decode_pixel_data(dataset, frame=frame, limits=LIMITS).warnings]


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, 100, **options))


def jpeg_2000(pixels: np.ndarray, **options: object) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="J2K", **options))


def jpeg_ls(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))


def without_segment(codestream: bytes, marker: bytes) -> bytes:
    start = codestream.index(marker)
    length = struct.unpack_from(">H", codestream, start + 2)[0]
    return codestream[:start] + codestream[start + 2 + length :]
