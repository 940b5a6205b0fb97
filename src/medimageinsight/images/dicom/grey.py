"""Monochrome stored values to 8-bit grey: modality, then VOI, then presentation (PS3.3 C.11, PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from medimageinsight.images.dicom.luts import Lut, lut_of
from medimageinsight.images.dicom.values import frame_group, items, numbers, text
from medimageinsight.images.grey import stretch, to_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """The linear modality transformation, in the units of the output (for example Hounsfield units)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """PS3.3 C.11.1.1.2."""
        return np.asarray(values, np.float64) * self.slope + self.intercept


@dataclass(frozen=True, kw_only=True)
class Window:
    """Window centre and width, in the units of the modality transformation's output."""

    center: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"

    @property
    def usable(self) -> bool:
        """PS3.3 C.11.2.1.2.1: a LINEAR width is at least 1; C.11.2.1.3: any other is above 0."""
        return self.width >= 1 if self.function == "LINEAR" else self.width > 0

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Values to 0..255."""
        if self.function == "SIGMOID":  # PS3.3 C.11.2.1.3.1
            with np.errstate(over="ignore"):  # exp overflows to infinity, whose share is rightly 0
                return to_bytes(255 / (1 + np.exp(-4 * (values - self.center) / self.width)))
        if self.function == "LINEAR_EXACT":  # PS3.3 C.11.2.1.3.2
            center, width = self.center, self.width
        else:  # PS3.3 C.11.2.1.2.1
            center, width = self.center - 0.5, self.width - 1
        if width == 0:
            return np.where(values > center, 255, 0).astype(np.uint8)
        return to_bytes(((values - center) / width + 0.5) * 255)


@dataclass(frozen=True, kw_only=True)
class GreyRules:
    """How one frame's stored values become grey.

    Args:
        modality: Stored values to real-world values.
        voi: The values of interest; None shows the frame from its smallest to its largest value.
        padding: Lowest and highest stored value that stands for "no pixel here".
        inverted: Whether the smallest value is white.
    """

    modality: Rescale | Lut
    voi: Window | Lut | None
    padding: tuple[float, float] | None
    inverted: bool


def grey_rules(dataset: Dataset, frame: int, *, big_endian: bool) -> GreyRules:
    """The rules of one frame, from its functional groups where it has any."""
    # PS3.3 C.7.6.3.1.2 and C.11.6.1.2; both may be given for the same single inversion (C.8.11.3.1)
    inverted = (
        text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE"
    )
    return GreyRules(
        modality=_modality(dataset, frame, big_endian=big_endian),
        voi=_voi(dataset, frame, big_endian=big_endian),
        padding=_padding(dataset),
        inverted=inverted,
    )


def render_grey(stored: NDArray[Any], rules: GreyRules) -> NDArray[np.uint8]:
    """Stored values of any shape to grey of the same shape."""
    values = rules.modality(stored)
    if isinstance(rules.voi, Window):
        grey = rules.voi(values)
    elif isinstance(rules.voi, Lut):
        grey = _lut_grey(rules.voi, values)
    else:
        grey = stretch(values, *_range_without_padding(stored, values, rules.padding))
    return 255 - grey if rules.inverted else grey


def _lut_grey(lut: Lut, values: NDArray[Any]) -> NDArray[np.uint8]:
    # C.11.2.1.1: entries span the descriptor's bits; some writers understate those
    top = max((1 << lut.bits) - 1, int(lut.entries.max()))
    return stretch(lut(values), 0, top)


def _range_without_padding(
    stored: NDArray[Any], values: NDArray[Any], padding: tuple[float, float] | None
) -> tuple[float, float]:
    """Smallest and largest real-world value of the pixels that are pixels (PS3.3 C.7.5.1.1.2)."""
    counted = np.isfinite(values)
    if padding is not None:
        counted &= (stored < padding[0]) | (stored > padding[1])
    inside = values[counted]
    return (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)


def _modality(dataset: Dataset, frame: int, *, big_endian: bool) -> Rescale | Lut:
    if sequence := items(dataset, "ModalityLUTSequence"):
        return lut_of(sequence[0], big_endian=big_endian)
    group = frame_group(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = numbers(group, "RescaleSlope"), numbers(group, "RescaleIntercept")
    # A slope of 0 would erase the picture; no writer means it.
    return Rescale(slope=(slope and slope[0]) or 1.0, intercept=intercept[0] if intercept else 0.0)


def _voi(dataset: Dataset, frame: int, *, big_endian: bool) -> Window | Lut | None:
    """The first of the VOI transformations offered; they are alternatives (PS3.3 C.11.2.1)."""
    if sequence := items(dataset, "VOILUTSequence"):
        return lut_of(sequence[0], big_endian=big_endian)
    group = frame_group(dataset, frame, "FrameVOILUTSequence")
    center, width = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
    if not center or not width:
        return None
    # LINEAR takes half a step off the centre and a whole one off the width; only integers have steps.
    real = "PixelData" not in dataset
    window = Window(center=center[0], width=width[0], function=_function(group, real=real))
    return window if window.usable else None


def _function(group: Dataset, *, real: bool) -> Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]:
    match text(group, "VOILUTFunction"):
        case "SIGMOID":
            return "SIGMOID"
        case "LINEAR_EXACT":
            return "LINEAR_EXACT"
        case _:  # PS3.3 C.11.2.1.3: LINEAR where nothing is said
            return "LINEAR_EXACT" if real else "LINEAR"


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue"):
        if value := numbers(dataset, keyword):
            # PS3.3 C.7.5.1.1.2: the limit may lie on either side of the value
            limit = numbers(dataset, keyword.replace("Value", "RangeLimit")) or value
            return min(value[0], limit[0]), max(value[0], limit[0])
    return None
