"""Read look-up tables: modality, VOI and palette, discrete and segmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images.dicom.elements import element_value, fit_word, words

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_MAX_ENTRIES = 1 << 16
_MAX_SEGMENT_VALUES = 4 * _MAX_ENTRIES  # a segment for each entry


@dataclass(frozen=True, kw_only=True, eq=False)
class LookupTable:
    """A table of values, applied to integers."""

    first: int  # input that is mapped to the first entry
    entries: NDArray[Any]  # (n,) uint8 or uint16
    bits: int  # of an entry, from the table's descriptor

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """Map values; those below the first or beyond the last input get the nearest entry (PS3.3 C.11.1.1.1).

        NaN gets the first entry.
        """
        index = np.nan_to_num(np.rint(np.asarray(values, np.float64)) - self.first)
        mapped: NDArray[Any] = self.entries[np.clip(index, 0, len(self.entries) - 1).astype(np.intp)]
        return mapped


def read_lookup_table(item: Dataset, *, bounds: tuple[float, float], big_endian: bool) -> LookupTable:
    """Return the table of an item of a Modality LUT or VOI LUT Sequence (PS3.3 C.11.1.1, C.11.2.1.1).

    Args:
        item: An item of the sequence.
        bounds: The smallest and largest value that the table can be applied to.
        big_endian: Whether words are big endian.

    Raises:
        ImageError: ``image_bad_header`` for a table that is missing, short or malformed.
    """
    count, first, bits = _descriptor(item, "LUTDescriptor", bounds, big_endian=big_endian)
    entries = _entries(element_value(item, "LUTData"), count, big_endian=big_endian)
    return LookupTable(first=first, entries=entries, bits=bits)


def read_palette(dataset: Dataset, *, bounds: tuple[float, float], big_endian: bool) -> list[LookupTable]:
    """Return the tables of red, green and blue, with 8-bit entries, of a PALETTE COLOR image.

    PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and, for segmented palettes, C.7.9.2. Arguments are those of `read_lookup_table`.

    Raises:
        ImageError: ``image_bad_header`` for a palette that is missing, short or malformed.
    """
    count, first, _ = _descriptor(dataset, "RedPaletteColorLookupTableDescriptor", bounds, big_endian=big_endian)
    channels = []
    for channel in ("Red", "Green", "Blue"):
        data = element_value(dataset, f"{channel}PaletteColorLookupTableData")
        segments = element_value(dataset, f"Segmented{channel}PaletteColorLookupTableData")
        if data or not segments:
            channels.append(_entries(data, count, big_endian=big_endian))
        else:
            # C.7.9.2.1: segmented tables with 8-bit entries are bytes, with 16-bit entries words
            descriptor = f"{channel}PaletteColorLookupTableDescriptor"
            _, _, bits = _descriptor(dataset, descriptor, bounds, big_endian=big_endian)
            codes = _words(segments, big_endian=big_endian)
            channels.append(expand_segments(_as_bytes(codes) if bits <= 8 else codes, count))
    entries = np.stack(channels, axis=1)
    # 16-bit entries use their whole range; entries that fit a byte are 8-bit, even if the descriptor states 16.
    entries = (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8)
    return [LookupTable(first=first, entries=channel, bits=8) for channel in entries.T]


def expand_segments(segments: NDArray[np.uint8] | NDArray[np.uint16], count: int) -> NDArray[np.uint16]:
    """Expand a segmented palette of discrete, linear and indirect segments (PS3.3 C.7.9.2.2) to (count,) uint16.

    Raises:
        ImageError: ``image_bad_header`` for a table that is short or malformed.
    """
    code = [int(value) for value in segments[:_MAX_SEGMENT_VALUES]]
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
    if length == 0:
        raise _bad_table()
    if opcode == 0:  # discrete: the entries themselves
        entries.extend(code[position + 2 : position + 2 + length])
        return position + 2 + length
    if opcode == 1 and entries:  # linear: from the last entry, which is already present, to the given one
        start, rise = entries[-1], code[position + 2] - entries[-1]
        entries.extend(start + round(rise * step / length) for step in range(1, length + 1))
        return position + 3
    raise _bad_table()


def _descriptor(item: Dataset, keyword: str, bounds: tuple[float, float], *, big_endian: bool) -> tuple[int, int, int]:
    """Return the number of entries, the first input mapped and the bits of an entry (PS3.3 C.7.6.3.1.5)."""
    values = words(item, keyword, big_endian=big_endian)
    if len(values) != 3:
        raise _bad_table()
    count, first, bits = values
    # The count is unsigned even where the VR is signed, and 0 means 65,536.
    count = (count % _MAX_ENTRIES) or _MAX_ENTRIES
    return count, fit_word(first, bounds, count), max(0, min(bits, 16))


def _entries(data: object, count: int, *, big_endian: bool) -> NDArray[np.uint16]:
    entries = _words(data, big_endian=big_endian)
    # C.11.1.1.1, C.7.6.3.1.6: 8-bit entries may be packed two a word; the length decides
    return _exactly(entries if len(entries) >= count else _as_bytes(entries).astype(np.uint16), count)


def _words(data: object, *, big_endian: bool) -> NDArray[np.uint16]:
    """Return the words of an element: bytes of VR OW or integers of VR US or SS."""
    if isinstance(data, bytes):
        return np.frombuffer(data[: len(data) // 2 * 2], ">u2" if big_endian else "<u2").astype(np.uint16)
    try:
        return np.atleast_1d(np.asarray(data, np.int64)).astype(np.uint16)
    except (TypeError, ValueError, OverflowError):
        raise _bad_table() from None


def _as_bytes(packed: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return the two bytes of each word; the low one is first, whatever the byte order of the file."""
    return packed.astype("<u2").view(np.uint8)


def _exactly(entries: NDArray[np.uint16], count: int) -> NDArray[np.uint16]:
    if len(entries) < count:
        raise _bad_table()
    return entries[:count]


def _bad_table() -> ImageError:
    return ImageError(
        "expected a DICOM image whose look-up tables are whole, got a missing, short or malformed one",
        code="image_bad_header",
    )
