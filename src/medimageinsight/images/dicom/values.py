"""Reading elements of a dataset without trusting them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def required_integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """The value of an element that decoding depends on.

    Raises:
        ImageError: ``image_bad_header`` where it is missing without a default, or is not an integer.
    """
    try:
        value: Any = dataset.get(keyword)
        value = default if value is None or value == "" else value
        return int(value)
    except Exception:  # pydicom converts on access and raises whatever the malformed value provokes
        raise ImageError(
            f"expected a DICOM image with a valid {keyword}, got none or an unreadable one: export it again",
            code="image_bad_header",
        ) from None


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an optional element of any multiplicity; none where it is missing or malformed."""
    try:
        value: Any = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, int | float | str) or not hasattr(value, "__iter__") else value
        return [number for number in map(float, values) if math.isfinite(number)]
    except Exception:  # as above; a malformed hint for display must not cost the picture
        return []


def text(dataset: Dataset, keyword: str) -> str:
    """An optional coded string in upper case; the first of several, empty where it is missing or malformed."""
    try:
        value = dataset.get(keyword)
    except Exception:  # as above
        return ""
    if value is not None and not isinstance(value, str):
        value = next(iter(value), "")
    return str(value or "").strip().upper()


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of an optional sequence; none where it is missing or malformed."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception:  # as above
        return []


def frame_group(dataset: Dataset, frame: int, keyword: str) -> Dataset:
    """The functional group of one frame: its own, else the shared one (PS3.3 C.7.6.16.2), else the dataset itself."""
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    groups += items(dataset, "SharedFunctionalGroupsSequence")[:1]
    for group in groups:
        if macro := items(group, keyword):
            return macro[0]
    return dataset
