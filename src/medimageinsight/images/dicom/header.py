"""Read the header of a DICOM file, and decide by it whether the file has an image that can be decoded."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, cast

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.elements import first_number
from medimageinsight.images.dicom.maps import check_not_map
from medimageinsight.images.dicom.pixel_data import PIXEL_KEYWORDS, without_pixels
from medimageinsight.images.dicom.read import StopAtPixels, begins_plainly, check_plausible, damaged_file, plain_bytes
from medimageinsight.images.dicom.scan import CHARACTER_SET, scan
from medimageinsight.images.dicom.stored_pixels import damaged
from medimageinsight.images.dicom.transfer_syntax import transfer_syntax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from medimageinsight.images.limits import Limits

_PREFIX_BYTES = 1024
_BEGINNING_BYTES = 1 << 16  # more than most headers have
_NEEDED = (  # what `check_image` looks at
    *("SOPClassUID", "Modality", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames"),
    *("PhotometricInterpretation", "PixelRepresentation"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """The header of a file, read up to its pixels.

    Attributes:
        dataset: Its elements, of those that were asked for.
        has_pixels: Whether pixel data follow.
        is_cut_off: Whether the file ends before its uncompressed pixels do.
    """

    dataset: Dataset
    has_pixels: bool
    is_cut_off: bool = False

    def check_image(self, limits: Limits) -> None:
        """Reject a file without an image of a patient, and one whose pixels are cut off or not decoded here.

        Raises:
            ImageError: ``image_no_pixels`` (a report, a presentation state, raw data), ``image_is_map`` unless
                ``limits.accept_maps``, ``image_is_video``, ``image_unsupported``, ``image_truncated``.
        """
        if not limits.accept_maps:
            check_not_map(self.dataset)
        if not self.has_pixels:
            raise without_pixels(self.dataset)
        transfer_syntax(self.dataset)
        if self.is_cut_off:
            raise damaged()


def read_header(file: BinaryIO, limits: Limits, keywords: Sequence[str | int] | None = None) -> Header:
    """Read a DICOM file up to its pixels.

    Args:
        file: Seekable, at its beginning; only its header is read, unless it is compressed as a whole.
        limits: Bounds on a compressed file.
        keywords: Keywords or tags of the elements that are wanted; None is all of them.

    Raises:
        ImageError: ``image_truncated`` for a header that is cut off or damaged, ``image_is_dicom_json``,
            ``image_too_large``.
    """
    from pydicom.filereader import read_partial

    tags = None if keywords is None else _tags((*_NEEDED, *keywords))
    size = None
    beginning = file.read(_BEGINNING_BYTES)
    if begins_plainly(beginning[:_PREFIX_BYTES]):
        size = file.seek(0, os.SEEK_END)
        limits.check_bytes(size)
        if (scanned := scan(beginning, wanted=tags, size=size)) is not None:
            start = scanned.pixels_at
            cut_off = start is not None and _is_cut_off(scanned.dataset, scanned.pixel_bytes, size - start)
            return Header(dataset=scanned.dataset, has_pixels=start is not None, is_cut_off=cut_off)
        file.seek(0)
    else:
        data = beginning + file.read(limits.max_bytes + 1 - len(beginning))
        limits.check_bytes(len(data))
        file = io.BytesIO(plain_bytes(data, limits))
    stop = StopAtPixels()
    try:
        dataset = read_partial(file, stop_when=stop, force=True, specific_tags=None if tags is None else list(tags))
        if not len(dataset):
            raise damaged_file()
        if size is None:
            check_plausible(dataset, file.getvalue())  # type: ignore[attr-defined]
        cut_off = size is not None and stop.found and _is_cut_off(dataset, stop.length, size - file.tell())
    except (ImageError, MemoryError):
        raise
    except Exception:  # the parser raises anything for a damaged file
        raise damaged_file() from None
    return Header(dataset=dataset, has_pixels=stop.found, is_cut_off=cut_off)


def header_of(dataset: Dataset, *, from_server: bool = False) -> Header:
    """Return the header of a dataset in memory; one from a server comes without the pixels that it describes."""
    has_pixels = any(keyword in dataset for keyword in PIXEL_KEYWORDS)
    return Header(dataset=dataset, has_pixels=has_pixels or (from_server and "Rows" in dataset))


@cache
def _tags(keywords: tuple[str | int, ...]) -> frozenset[int]:
    from pydicom.datadict import tag_for_keyword

    found = (keyword if isinstance(keyword, int) else cast("int", tag_for_keyword(keyword)) for keyword in keywords)
    return frozenset(found) | {CHARACTER_SET}


def _is_cut_off(dataset: Dataset, stated_bytes: int, bytes_left: int) -> bool:
    """Return whether neither the stated length nor the pixels of the header fit into the rest of the file."""
    if stated_bytes == 0xFFFFFFFF or stated_bytes <= bytes_left:
        return False
    factors = [first_number(dataset, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")]
    rows, columns, samples, bits = (factor or 1.0 for factor in factors)
    frames = first_number(dataset, "NumberOfFrames") or 1.0
    return rows * columns * samples * bits * frames / 8 > bytes_left
