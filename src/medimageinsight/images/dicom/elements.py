"""Read data elements that may be missing or malformed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def required_integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return the value of an element that decoding depends on.

    Raises:
        ImageError: ``image_bad_header`` where it is missing without a default, or is not an integer.
    """
    try:
        value: Any = dataset.get(keyword)
        value = default if value is None or value == "" else value
        return int(value)
    except Exception:  # pydicom converts on access and raises anything for a malformed value
        raise ImageError(
            f"expected a DICOM image with a valid {keyword}, got a missing or unreadable value: export it again",
            code="image_bad_header",
        ) from None


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return the finite numbers of an optional element of any multiplicity; empty if it is missing or malformed."""
    try:
        value: Any = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, int | float | str) or not hasattr(value, "__iter__") else value
        return [number for number in map(float, values) if math.isfinite(number)]
    except Exception:  # as above; a malformed display hint must not make the image unusable
        return []


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an optional coded string in upper case; empty if it is missing or malformed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # as above
        return ""
    if value is not None and not isinstance(value, str):
        value = next(iter(value), "")
    return str(value or "").strip().upper()


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of an optional sequence; empty if it is missing or malformed."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception:  # as above
        return []


def frame_group(dataset: Dataset, frame: int, keyword: str) -> Dataset:
    """Return the functional group macro of one frame: its own, else the shared (PS3.3 C.7.6.16.2), else the dataset."""
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    groups += items(dataset, "SharedFunctionalGroupsSequence")[:1]
    for group in groups:
        if macro := items(group, keyword):
            return macro[0]
    return dataset
