"""Read data elements that may be missing or malformed."""

from __future__ import annotations

import contextlib
import functools
import math
import re
import struct
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

# A decimal string as written in practice: a comma may stand for the point, a unit may follow.
_NUMBER = re.compile(r"\s*([+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_WORD = 1 << 16


def required_integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return the value of an element that decoding depends on.

    Raises:
        ImageError: ``image_bad_header`` where it is missing without a default, or is not an integer.
    """
    try:
        raw = _unconverted(dataset, keyword)
        if _is_word(raw, dataset):
            return int.from_bytes(raw[1], "little")
        value: Any = dataset.get(keyword)
        value = default if value is None or value == "" else value
        return int(value)
    except Exception:  # pydicom converts on access and raises anything for a malformed value
        raise ImageError(
            f"expected a DICOM image with a valid {keyword}, got a missing or unreadable value: export it again",
            code="image_bad_header",
        ) from None


def element_value(dataset: Dataset, keyword: str | int) -> object:
    """Return the value of an optional element, None if it is missing; its bytes where pydicom cannot convert them.

    That is so for malformed numbers, and for a VR of US or SS, or US or OW, that nothing decides.
    """
    if dataset.get_item(_tag_and_vr(keyword)[0]) is None:
        return None
    with contextlib.suppress(Exception):  # as above; a malformed display hint must not make the image unusable
        return cast("object", dataset[keyword].value)
    with contextlib.suppress(Exception):  # an unknown VR
        return cast("object", dataset.get_item(keyword).value)
    return None


def numbers(dataset: Dataset, keyword: str | int) -> list[float]:
    """Return the numbers of an optional element of any multiplicity, NaN for an unreadable one; empty if missing."""
    raw = _unconverted(dataset, keyword)
    if raw is None:
        return []
    if _is_word(raw, dataset):
        return [float(int.from_bytes(raw[1], "little"))]
    value: Any = raw[1] if raw[0] in ("DS", "IS") else element_value(dataset, keyword)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        value = value.split("\\") if value.strip("\0 ") else None
    if value is None:
        return []
    return [_number(part) for part in (value if hasattr(value, "__iter__") else [value])]


def first_number(dataset: Dataset, keyword: str | int) -> float | None:
    """Return the first readable number of an optional element."""
    return next((number for number in numbers(dataset, keyword) if math.isfinite(number)), None)


def words(dataset: Dataset, keyword: str, *, big_endian: bool) -> list[int]:
    """Return the 16-bit integers of an optional element, signed as its VR states; empty if missing or malformed."""
    value: Any = element_value(dataset, keyword)
    try:
        if isinstance(value, bytes):
            return list(struct.unpack(f"{'><'[not big_endian]}{len(value) // 2}H", value))
        return [int(part) for part in (value if hasattr(value, "__iter__") else [value])]
    except (struct.error, TypeError, ValueError, OverflowError):
        return []


def fit_word(word: int, bounds: tuple[float, float], count: int = 1) -> int:
    """Return the value of a 16-bit word whose VR, US or SS, may not match the values that it applies to.

    Of the unsigned and the signed reading, the one from which on more of ``count`` integers lie within the bounds; the
    signed one if it is equal and the values can be negative; the stated one if neither has any (PS3.3 C.11.2.1.1).

    Args:
        word: The value as stated by the VR.
        bounds: The smallest and largest value that it can be compared with.
        count: The number of integers that begin with it: 1, or the entries of a look-up table.
    """
    unsigned = word % _WORD
    signed = (unsigned + _WORD // 2) % _WORD - _WORD // 2
    within = {
        value: max(0.0, min(value + count - 1, bounds[1]) - max(value, bounds[0]) + 1) for value in (signed, unsigned)
    }
    return max(within, key=lambda value: within[value]) if any(within.values()) else word


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an optional coded string in upper case; empty if it is missing or malformed."""
    return next(iter(texts(dataset, keyword)), "").upper()


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Return the values of an optional text, without padding; empty if it is missing or malformed."""
    raw = _unconverted(dataset, keyword)
    if raw is None:
        return []
    if raw[0] in ("CS", "UI") and raw[1].isascii():
        return [part.strip("\0 ") for part in raw[1].decode("ascii").split("\\")]
    try:
        value: Any = dataset.get(keyword)
        if value is None:
            return []
        return [str(part).strip("\0 ") for part in ([value] if isinstance(value, str) else value)]
    except Exception:  # as above
        return []


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of an optional sequence; a single empty item if it is malformed."""
    if dataset.get_item(_tag_and_vr(keyword)[0]) is None:
        return []
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    try:
        value: Any = dataset.get(keyword)
        if not value:
            return []
        return list(value) if isinstance(value, Sequence) else [Dataset()]
    except Exception:  # as above
        return [Dataset()]


def frame_groups(dataset: Dataset, frame: int, keyword: str) -> list[Dataset]:
    """Return the datasets that may describe a frame, the most specific first.

    The items of a functional group macro of the frame, those shared by all frames (PS3.3 C.7.6.16.2), the dataset.
    """
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    groups += items(dataset, "SharedFunctionalGroupsSequence")[:1]
    return [*(macro for group in groups for macro in items(group, keyword)), dataset]


def _unconverted(dataset: Dataset, keyword: str | int) -> tuple[str, bytes] | None:
    """Return the value representation and bytes of an element that pydicom has not converted: that takes long.

    Both are empty where it has, and for an element without a value; None for a missing one.
    """
    tag, usual = _tag_and_vr(keyword)
    element: Any = dataset.get_item(tag)
    if element is None:
        return None
    # of the two kinds of elements, only the unconverted one is a tuple
    return (element.VR or usual, element.value) if isinstance(element, tuple) and element.value else ("", b"")  # type: ignore[attr-defined]


def _is_word(raw: tuple[str, bytes] | None, dataset: Dataset) -> TypeGuard[tuple[str, bytes]]:
    """Return whether an element that was not converted is one unsigned short in little endian."""
    return raw is not None and raw[0] == "US" and len(raw[1]) == 2 and bool(dataset.original_encoding[1])


@functools.cache
def _tag_and_vr(keyword: str | int) -> tuple[BaseTag, str]:
    """Return the tag of an element and its value representation in the dictionary; empty for a private one."""
    from pydicom.datadict import dictionary_VR
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return tag, "" if tag.is_private else dictionary_VR(tag)


def _number(value: object) -> float:
    try:
        if not isinstance(value, str):
            return float(value)  # type: ignore[arg-type] # whatever it is
        if "," in value and "." in value:  # a comma between thousands
            value = value.replace(",", "")
        match = _NUMBER.match(value)
        return float(match[1].replace(",", ".")) if match else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan
