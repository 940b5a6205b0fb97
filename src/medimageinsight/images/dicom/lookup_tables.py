"""Read look-up tables: modality, VOI and palette, discrete and segmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_MAX_ENTRIES = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class LookupTable:
    """A table of values, applied to integers."""

    first: int  # input that is mapped to the first entry
    entries: NDArray[np.uint16]  # (n,)
    bits: int  # of an entry, from the table's descriptor

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Map values; those below the first or beyond the last input get the nearest entry (PS3.3 C.11.1.1.1)."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        mapped: NDArray[np.uint16] = self.entries[index]
        return mapped


def read_lookup_table(item: Dataset, *, big_endian: bool) -> LookupTable:
    """Return the table of an item of a Modality LUT or VOI LUT Sequence (PS3.3 C.11.1.1, C.11.2.1.1).

    Raises:
        ImageError: ``image_bad_header`` for a table that is empty or too short.
    """
    count, first, bits = _descriptor(item, "LUTDescriptor")
    return LookupTable(first=first, entries=_entries(item.LUTData, count, big_endian=big_endian), bits=bits)


def read_palette(dataset: Dataset, *, big_endian: bool) -> tuple[int, NDArray[np.uint8]]:
    """Return the first input mapped and the palette, (n, 3) uint8 RGB, of a PALETTE COLOR image.

    PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and, for segmented palettes, C.7.9.2.

    Raises:
        ImageError: ``image_bad_header`` for a palette that is missing, short or malformed.
    """
    count, first, _ = _descriptor(dataset, "RedPaletteColorLookupTableDescriptor")
    channels = []
    for channel in ("Red", "Green", "Blue"):
        if f"{channel}PaletteColorLookupTableData" in dataset:
            data = dataset[f"{channel}PaletteColorLookupTableData"].value
            channels.append(_entries(data, count, big_endian=big_endian))
        elif f"Segmented{channel}PaletteColorLookupTableData" in dataset:
            # C.7.9.2.1: segmented tables with 8-bit entries are bytes, with 16-bit entries words
            _, _, bits = _descriptor(dataset, f"{channel}PaletteColorLookupTableDescriptor")
            data = dataset[f"Segmented{channel}PaletteColorLookupTableData"].value
            channels.append(expand_segments(_words(data, 1 if bits <= 8 else 2, big_endian=big_endian), count))
        else:
            raise _bad_table()
    entries = np.stack(channels, axis=1)
    # 16-bit entries use their whole range; entries that fit a byte are 8-bit, even if the descriptor states 16.
    return first, (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8)


def expand_segments(segments: NDArray[np.uint8] | NDArray[np.uint16], count: int) -> NDArray[np.uint16]:
    """Expand a segmented palette of discrete, linear and indirect segments (PS3.3 C.7.9.2.2) to (count,) uint16.

    Raises:
        ImageError: ``image_bad_header`` for a table that is short or malformed.
    """
    code = [int(value) for value in segments]
    # The offset of an indirect segment has 32 bits, low part first: four 8-bit entries or two of 16 bits.
    parts, bits = (4, 8) if segments.dtype == np.uint8 else (2, 16)
    entries: list[int] = []
    position = 0
    try:
        while position + 1 < len(code) and len(entries) < count:
            if code[position] == 2:  # indirect: run earlier segments again
                low_first = code[position + 2 : position + 2 + parts]
                offset = sum(part << bits * index for index, part in enumerate(low_first))
                for _ in range(code[position + 1]):
                    if code[offset] == 2:  # C.7.9.2.2.3: an indirect segment shall not point to another
                        raise _bad_table()
                    offset = _run_segment(code, offset, entries)
                    if len(entries) >= count:
                        break
                position += 2 + parts
            else:
                position = _run_segment(code, position, entries)
    except IndexError:
        raise _bad_table() from None
    return _exactly(np.array(entries, np.uint16), count)


def _run_segment(code: list[int], position: int, entries: list[int]) -> int:
    """Append the entries of one discrete or linear segment, and return the position of the next."""
    opcode, length = code[position], code[position + 1]
    if opcode == 0:  # discrete: the entries themselves
        entries.extend(code[position + 2 : position + 2 + length])
        return position + 2 + length
    if opcode == 1 and entries:  # linear: from the last entry, which is already present, to the given one
        start, rise = entries[-1], code[position + 2] - entries[-1]
        entries.extend(start + round(rise * step / length) for step in range(1, length + 1))
        return position + 3
    raise _bad_table()


def _descriptor(item: Dataset, keyword: str) -> tuple[int, int, int]:
    """Return the number of entries, the first input mapped and the bits of an entry (PS3.3 C.7.6.3.1.5)."""
    try:
        count, first, bits = (int(value) for value in item[keyword].value)
    except Exception:  # missing, or of a wrong multiplicity or type
        raise _bad_table() from None
    # The count is unsigned even where the VR is signed, and 0 means 65,536.
    return (count % _MAX_ENTRIES) or _MAX_ENTRIES, first, bits


def _entries(data: bytes | Sequence[int] | int, count: int, *, big_endian: bool) -> NDArray[np.uint16]:
    if isinstance(data, bytes):
        # C.11.1.1.1, C.7.6.3.1.6: 8-bit entries may be packed two a word; the length decides
        width = 1 if len(data) < 2 * count else 2
        return _exactly(_words(data, width, big_endian=big_endian).astype(np.uint16), count)
    return _exactly(np.atleast_1d(np.asarray(data)).astype(np.uint16), count)


def _words(data: bytes, width: int, *, big_endian: bool) -> NDArray[Any]:
    """Return the entries, ``width`` bytes each, of an OW element; big endian stores the first of two bytes second."""
    words = np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2")
    return words.astype(np.uint16) if width == 2 else words.astype("<u2").view(np.uint8)


def _exactly(entries: NDArray[np.uint16], count: int) -> NDArray[np.uint16]:
    if len(entries) < count:
        raise _bad_table()
    return entries[:count]


def _bad_table() -> ImageError:
    return ImageError(
        "expected a DICOM image whose look-up tables are whole, got a missing, short or malformed one",
        code="image_bad_header",
    )
