"""The choice of images of a series, by number, position or name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from medimageinsight.studies.study_image import Kind, StudyImage

_EVEN = 16  # images of the default choice; docs/studies.md has the measurements
_NUMBER = re.compile(r"[0-9]{1,7}")
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")
_MILLIMETRES = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\.\.(-?[0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class Selection:
    """Which images of a series are used; `parse_selection` makes it from a text, which `str` returns.

    Args:
        text: The text.
        choose: Returns the indices of the chosen images, ascending, without repetition.
    """

    text: str
    choose: Callable[[Sequence[StudyImage]], list[int]]

    def __str__(self) -> str:
        return self.text


def parse_selection(text: str) -> Selection:
    """Return the selection that a text describes.

    ``all``; ``every:3`` is each third image from the first on; ``even:16`` are 16 evenly spaced images, or all if there
    are fewer; ``centre:5`` is the middle image and 5 on either side; ``mm:-40..60`` are those at positions from -40 to
    60 mm along the normal of the slices; ``frames:0,5,10-19`` are those of these indices, from 0.

    Raises:
        InputError: ``selection_invalid``.
    """
    name, _, argument = text.strip().partition(":")
    name = "centre" if name == "center" else name
    if name == "all" and not argument:
        return Selection("all", lambda images: list(range(len(images))))
    if name in ("every", "even", "centre") and _NUMBER.fullmatch(argument):
        number = int(argument)
        if number or name == "centre":
            return Selection(f"{name}:{number}", _by_number(name, number))
    if name == "mm" and (match := _MILLIMETRES.fullmatch(argument)):
        low, high = float(match[1]), float(match[2])
        if low <= high:
            return Selection(f"mm:{match[1]}..{match[2]}", lambda images: _by_position(images, low, high))
    if name == "frames" and (frames := _parse_frames(argument)) is not None:
        return Selection(f"frames:{argument}", lambda images: _by_index(images, frames))
    raise InputError(
        "expected all, every:N, even:N, centre:N, mm:FROM..TO or frames:0,5,10-19, got another selection: "
        "write one of these",
        code="selection_invalid",
    )


def default_selection(kind: Kind) -> Selection:
    """Return the selection of a series that has none: all tiles of a slide, 16 evenly spaced images of other kinds."""
    return parse_selection("all" if kind == "slide" else f"even:{_EVEN}")


def _by_number(name: str, number: int) -> Callable[[Sequence[StudyImage]], list[int]]:
    def choose(images: Sequence[StudyImage]) -> list[int]:
        count = len(images)
        if name == "every":
            return list(range(0, count, number))
        if name == "centre":
            middle = (count - 1) // 2
            return list(range(max(0, middle - number), min(count, middle + number + 1)))
        # The centres of equal parts, so that a choice of 1 is the middle and the ends are no more likely than others.
        return sorted({int((index + 0.5) * count / number) for index in range(number)})

    return choose


def _by_position(images: Sequence[StudyImage], low: float, high: float) -> list[int]:
    positions = [image.position_mm for image in images]
    if any(position is None for position in positions):
        raise InputError(
            "expected slices with positions for a selection in mm, got images without: choose them by number",
            code="selection_not_applicable",
        )
    array = np.asarray(positions, dtype=float)
    return _not_empty(np.flatnonzero((array >= low) & (array <= high)).tolist())


def _by_index(images: Sequence[StudyImage], frames: Sequence[range]) -> list[int]:
    count = len(images)
    last = max(part.stop for part in frames) - 1
    if last >= count:
        raise InputError(
            f"expected frames from 0 to {count - 1:,}, got {last:,}: choose among them", code="selection_not_applicable"
        )
    return sorted({index for part in frames for index in part})


def _parse_frames(text: str) -> list[range] | None:
    parts = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            return None
        parts.append(range(first, last + 1))
    return parts


def _not_empty(indices: list[int]) -> list[int]:
    if not indices:
        raise InputError(
            "expected a selection with at least one image, got none: widen it", code="selection_not_applicable"
        )
    return indices
