"""Describe the stored pixels by the header, with sensible values for what is missing or impossible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medimageinsight.images.dicom.elements import required_integer, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.images.codestreams import Codestream

_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_MAX_ALLOCATED = 64
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")


@dataclass(frozen=True, kw_only=True)
class PixelDescription:
    """The image pixel module (PS3.3 C.7.6.3)."""

    keyword: str  # of the element with the pixels
    rows: int
    columns: int
    frames: int
    samples: int  # of a pixel
    photometric: str  # photometric interpretation in upper case; empty if it is missing
    allocated: int  # bits of a sample
    stored: int  # bits of a sample that count
    high_bit: int  # the highest of them
    signed: bool
    planar: bool  # whether each sample has its own plane

    @property
    def is_colour(self) -> bool:
        """Return whether the photometric interpretation is one of several samples."""
        return bool(self.photometric) and self.photometric not in _GREY

    @property
    def is_subsampled(self) -> bool:
        """Return whether two pixels share their chrominance in uncompressed data (PS3.3 C.7.6.3.1.2)."""
        return self.photometric in _SUBSAMPLED and self.samples == 3

    @property
    def photometric_name(self) -> str:
        """Return the photometric interpretation for a message: a term of the standard, never the text of the file."""
        from pydicom.pixels.common import PhotometricInterpretation

        terms = [str(term) for term in PhotometricInterpretation]
        return self.photometric if self.photometric in terms else "a non-standard photometric interpretation"

    def native_bits(self) -> int:
        """Return the bits of all frames, uncompressed."""
        samples = 2 if self.is_subsampled else self.samples
        return self.rows * self.columns * self.frames * samples * self.allocated


def describe(dataset: Dataset, keyword: str, codestream: Codestream | None = None) -> PixelDescription:
    """Return the header's description of the pixels; elements that are missing or empty follow the codestream.

    Raises:
        ImageError: ``image_bad_header`` where an element without a sensible default is missing or not an integer.
    """
    photometric = text(dataset, "PhotometricInterpretation").replace("_", " ").replace(" ", "_")
    photometric = "PALETTE COLOR" if photometric == "PALETTE_COLOR" else photometric
    rows, columns = None, None
    default_allocated = _FLOAT_BITS.get(keyword)
    samples = 3 if photometric and photometric not in _GREY else 1
    if codestream is not None:
        rows, columns, samples = codestream.height, codestream.width, codestream.samples
        default_allocated = 8 if codestream.precision <= 8 else 16 if codestream.precision <= 16 else 32
    allocated = required_integer(dataset, "BitsAllocated", default=default_allocated)
    if default_allocated is not None and not 1 <= allocated <= _MAX_ALLOCATED:
        allocated = default_allocated
    stored = required_integer(dataset, "BitsStored", default=allocated)
    if not 1 <= stored <= allocated:
        stored = allocated
    high_bit = required_integer(dataset, "HighBit", default=stored - 1)
    return PixelDescription(
        keyword=keyword,
        rows=required_integer(dataset, "Rows", default=rows),
        columns=required_integer(dataset, "Columns", default=columns),
        frames=number_of_frames(dataset),
        samples=required_integer(dataset, "SamplesPerPixel", default=samples) or samples,
        photometric=photometric,
        allocated=allocated,
        stored=stored,
        high_bit=high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        signed=required_integer(dataset, "PixelRepresentation", default=0) == 1,
        planar=required_integer(dataset, "PlanarConfiguration", default=0) == 1,
    )


def number_of_frames(dataset: Dataset) -> int:
    """Return the number of frames, at least 1 (``image_bad_header`` if it is not an integer)."""
    return max(1, required_integer(dataset, "NumberOfFrames", default=1))
