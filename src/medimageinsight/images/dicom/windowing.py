"""The VOI transformation of modality values: window centre and width, or VOI LUT (PS3.3 C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from medimageinsight.images.dicom.elements import frame_group, items, numbers, text
from medimageinsight.images.dicom.lookup_tables import LookupTable, read_lookup_table
from medimageinsight.images.eight_bit import round_to_uint8, scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

VoiFunction: TypeAlias = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Window centre and width, in the units of the modality transformation's output."""

    center: float
    width: float
    function: VoiFunction = "LINEAR"

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Map values to 0..255."""
        if self.function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
            with np.errstate(over="ignore"):  # exp overflows to infinity, whose reciprocal is correctly 0
                return round_to_uint8(255 / (1 + np.exp(-4 * (values - self.center) / self.width)))
        if self.function == "LINEAR_EXACT":  # PS3.3 C.11.2.1.3.2
            center, width = self.center, self.width
        else:  # PS3.3 C.11.2.1.2.1
            center, width = self.center - 0.5, self.width - 1
        if width == 0:
            return np.where(values > center, 255, 0).astype(np.uint8)
        return round_to_uint8(((values - center) / width + 0.5) * 255)


def voi_transform(dataset: Dataset, frame: int, *, big_endian: bool) -> Window | LookupTable | None:
    """Return the first VOI LUT of a dataset, else the first usable window of one frame (PS3.3 C.11.2.1)."""
    if sequence := items(dataset, "VOILUTSequence"):
        return read_lookup_table(sequence[0], big_endian=big_endian)
    group = frame_group(dataset, frame, "FrameVOILUTSequence")
    center, width = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
    if not center or not width:
        return None
    # LINEAR subtracts half a step from the centre and one step from the width; only integers have steps.
    real = "PixelData" not in dataset
    window = Window(center=center[0], width=width[0], function=_voi_function(group, real=real))
    # The width is at least 1 for LINEAR (PS3.3 C.11.2.1.2.1), else above 0 (C.11.2.1.3).
    usable = window.width >= 1 if window.function == "LINEAR" else window.width > 0
    return window if usable else None


def apply_voi_lut(table: LookupTable, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Map values through a VOI LUT to 0..255; its entries span the descriptor's bits or more (PS3.3 C.11.2.1.1)."""
    # Some writers state too few bits.
    high = max((1 << table.bits) - 1, int(table.entries.max()))
    return scale_to_uint8(table(values), 0, high)


def _voi_function(group: Dataset, *, real: bool) -> VoiFunction:
    match text(group, "VOILUTFunction"):
        case "SIGMOID":
            return "SIGMOID"
        case "LINEAR_EXACT":
            return "LINEAR_EXACT"
        case _:  # PS3.3 C.11.2.1.3: LINEAR is the default
            return "LINEAR_EXACT" if real else "LINEAR"
