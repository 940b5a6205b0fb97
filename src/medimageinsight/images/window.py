"""The choice of the range of grey values that an image is displayed with.

parse_window("40/400")       # centre and width, in the units of the rescaled values
parse_window("lung")         # a preset in Hounsfield units
parse_window("1")            # the second of the file's own windows
parse_window("1%-99%")       # percentiles of the values outside padding
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

from medimageinsight.errors import InputError

PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (50, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft-tissue": (50, 400),
    "spine": (50, 250),
    "stroke": (40, 40),
    "subdural": (75, 215),
    "temporal-bone": (600, 2800),
}
"""Centre and width in Hounsfield units. Source of all values: A. Murphy et al., "Windowing (CT)", Radiopaedia.org,
rID-52108; of the ranges that it gives for subdural (centre 50 to 100, width 130 to 300) the middle."""

_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_CENTER_WIDTH = re.compile(rf"{_NUMBER}/{_NUMBER}")
_PERCENTILES = re.compile(rf"{_NUMBER}%\s*-{_NUMBER}%\s*")
_MAX_TEXT = 100  # characters of a text that is parsed


@dataclass(frozen=True)
class CenterWidth:
    """A window centre and width, in the units of the modality transformation's output."""

    center: float
    width: float

    def __str__(self) -> str:
        """Return the canonical text, such as ``40/400``."""
        return f"{_format(self.center)}/{_format(self.width)}"


@dataclass(frozen=True)
class Preset:
    """A name of `PRESETS`, for images in Hounsfield units."""

    name: str

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True)
class FileWindow:
    """An index of the file's own windows from 0 on: its VOI LUTs, then its pairs of centre and width."""

    index: int

    def __str__(self) -> str:
        """Return the index as text."""
        return str(self.index)


@dataclass(frozen=True)
class Percentiles:
    """Two percentiles, 0 to 100, of the frame's finite values outside padding."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return the canonical text, such as ``1%-99%``."""
        return f"{_format(self.low)}%-{_format(self.high)}%"


@dataclass(frozen=True)
class ListedWindow:
    """One of a file's own windows.

    Args:
        index: The index that selects it, see `FileWindow`.
        window: Its centre and width; None for a VOI LUT.
        explanation: The file's free text about it, which may contain anything: show it to the user only.
    """

    index: int
    window: CenterWidth | None
    explanation: str


WindowSelection: TypeAlias = CenterWidth | Preset | FileWindow | Percentiles
WindowLike: TypeAlias = str | int | tuple[float, float] | WindowSelection


def parse_window(window: WindowLike) -> WindowSelection:
    """Return the selection that a text, an index or a pair of centre and width stands for.

    Args:
        window: ``"40/400"`` (centre/width), a name of `PRESETS`, ``"1"`` or 1 (index of the file's own windows, from
            0), ``"1%-99%"`` (percentiles), a tuple (centre, width), or a selection, which is returned unchanged.

    Returns:
        A selection; ``str`` of it is the canonical text, which parses to an equal selection.

    Raises:
        InputError: ``window_invalid`` for anything else, a width that is not above 0, or percentiles that do not rise.
    """
    if isinstance(window, CenterWidth | Preset | FileWindow | Percentiles):
        return _checked(window)
    if isinstance(window, int) and not isinstance(window, bool):
        return _checked(FileWindow(window))
    if isinstance(window, tuple) and len(window) == 2:
        try:
            return _checked(CenterWidth(float(window[0]), float(window[1])))
        except (TypeError, ValueError):
            raise _invalid("a pair of other values") from None
    if isinstance(window, str):
        return _checked(_parse_text(window[:_MAX_TEXT]))
    raise _invalid(type(window).__name__)


def _parse_text(text: str) -> WindowSelection:
    if match := _CENTER_WIDTH.fullmatch(text):
        return CenterWidth(float(match[1]), float(match[2]))
    if match := _PERCENTILES.fullmatch(text):
        return Percentiles(float(match[1]), float(match[2]))
    if re.fullmatch(r"\s*\d{1,6}\s*", text, re.ASCII):
        return FileWindow(int(text))
    return Preset(re.sub(r"[\s_-]+", "-", text.strip().lower()))


def _checked(selection: WindowSelection) -> WindowSelection:
    match selection:
        case CenterWidth(center, width):
            valid = math.isfinite(center) and math.isfinite(width) and width > 0
        case Percentiles(low, high):
            valid = 0 <= low < high <= 100
        case FileWindow(index):
            valid = index >= 0
        case Preset(name):
            valid = name in PRESETS
    if not valid:
        raise _invalid("another name" if isinstance(selection, Preset) else str(selection))
    return selection


def _invalid(got: str) -> InputError:
    return InputError(
        "expected a window as CENTER/WIDTH (width above 0), LOW%-HIGH% (percentiles), the index of one of the file's "
        f"windows, or a preset ({', '.join(PRESETS)}), got {got}",
        code="window_invalid",
    )


def _format(number: float) -> str:
    """Return the shortest text that reads back as the same number."""
    return repr(float(number)).removesuffix(".0")
