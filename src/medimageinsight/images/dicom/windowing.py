"""The VOI transformations that a file offers: VOI LUTs, window centres and widths (PS3.3 C.11.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.elements import frame_groups, items, numbers, text, texts
from medimageinsight.images.dicom.lookup_tables import LookupTable, read_lookup_table
from medimageinsight.images.eight_bit import scale_to_uint8
from medimageinsight.images.grey import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images.grey import WindowFunction

Spacing: TypeAlias = Literal["integer", "rescaled", "real"]
"""Of modality values: integers, integers times a slope that is not one, real numbers."""

_LUT_MALFORMED = ImageWarning(
    "voi_lut_malformed", "a VOI LUT is empty, short or malformed: the next LUT, window or the value range was used"
)
_WINDOW_UNUSABLE = ImageWarning(
    "window_unusable", "no window centre and width can be used: width not above 0, or unreadable numbers"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class VoiLut:
    """A VOI LUT, scaled to 8 bits."""

    table: LookupTable

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Map modality values to 0..255 (PS3.3 C.11.2.1.1).

        The entries span the descriptor's bits. Where it states more than 8 bits and the entries need fewer (Agfa: the
        bits that an entry is stored in), or where it states too few, the largest entry is white, as in dicom-rs. A
        table that honestly ends a little below its range is not stretched.
        """
        largest = int(self.table.entries.max())
        overstated = largest.bit_length() < self.table.bits and self.table.bits > 8
        white = largest if overstated else max((1 << self.table.bits) - 1, largest)
        return scale_to_uint8(self.table(values), 0, white)


@dataclass(frozen=True, kw_only=True, eq=False)
class VoiChoice:
    """One of a file's own VOI transformations."""

    transform: Window | VoiLut
    explanation: str  # free text of the file


def voi_choices(
    dataset: Dataset, frame: int, *, bounds: tuple[float, float], spacing: Spacing, big_endian: bool
) -> tuple[list[VoiChoice], tuple[ImageWarning, ...]]:
    """Return a frame's usable VOI LUTs, then its usable windows, and a warning for each kind that is not.

    The frame's own functional group comes first, then the shared one, then the dataset (PS3.3 C.7.6.16.2.10).

    Args:
        dataset: The image.
        frame: Index of the frame.
        bounds: The smallest and largest possible modality value.
        spacing: Of the modality values.
        big_endian: Whether words are big endian.
    """
    groups = frame_groups(dataset, frame, "FrameVOILUTSequence")
    luts, malformed = [], False
    for item in (item for group in groups for item in items(group, "VOILUTSequence")):
        try:
            table = read_lookup_table(item, bounds=bounds, big_endian=big_endian)
        except ImageError:
            malformed = True
        else:
            explanation = next(iter(texts(item, "LUTExplanation")), "")
            luts.append(VoiChoice(transform=VoiLut(table=table), explanation=explanation))
    windows = [window for group in groups for window in _windows(group, spacing)]
    unusable = not windows and any(numbers(group, "WindowCenter") for group in groups)
    warnings = (*((_LUT_MALFORMED,) if malformed else ()), *((_WINDOW_UNUSABLE,) if unusable else ()))
    return [*luts, *windows], warnings


def _windows(group: Dataset, spacing: Spacing) -> list[VoiChoice]:
    explanations = texts(group, "WindowCenterWidthExplanation")
    centers, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
    return [
        VoiChoice(transform=window, explanation=explanations[index] if index < len(explanations) else "")
        for index, (center, width) in enumerate(zip(centers, widths, strict=False))
        if (window := _window(center, width, text(group, "VOILUTFunction"), spacing)) is not None
    ]


def _window(center: float, width: float, stated: str, spacing: Spacing) -> Window | None:
    """Return a window, or None where it is not usable."""
    function: WindowFunction
    match stated:
        case "SIGMOID" | "LINEAR_EXACT":
            function = stated
        # LINEAR, the default (PS3.3 C.11.2.1.3), subtracts half a step from the centre and one step from the width,
        # which is at least 1 (C.11.2.1.2.1). Real numbers have no steps, and in an ADC map of rescaled integers, a
        # width of 0.004 is meant.
        case _ if spacing == "real" or (spacing == "rescaled" and width < 1):
            function = "LINEAR_EXACT"
        case _:
            function = "LINEAR"
    usable = math.isfinite(center) and math.isfinite(width) and (width >= 1 if function == "LINEAR" else width > 0)
    return Window(center=center, width=width, function=function) if usable else None
