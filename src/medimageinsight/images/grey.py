"""Map grey values of any depth to 8 bits by a window, percentiles or their range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images.eight_bit import round_to_uint8, scale_to_uint8
from medimageinsight.images.window import CenterWidth, Percentiles, Preset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.window import WindowSelection

WindowFunction: TypeAlias = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Window centre and width, in the units of the values that it is applied to."""

    center: float
    width: float
    function: WindowFunction = "LINEAR"

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


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """The values shown as 0 and 255."""

    low: float
    high: float

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Map values to 0..255; all to 0 if the range is empty."""
        return scale_to_uint8(values, self.low, self.high)


def selected_window(center: float, width: float, *, integers: bool) -> Window:
    """Return the window of a centre and width that a person gives.

    LINEAR subtracts half a step from the centre and one step from the width (PS3.3 C.11.2.1.2.1): only integers have
    steps, and a width below 1 has no whole step.
    """
    return Window(center=center, width=width, function="LINEAR" if integers and width >= 1 else "LINEAR_EXACT")


def percentile_range(values: NDArray[Any], selection: Percentiles) -> ValueRange:
    """Return the range between two percentiles, linearly interpolated; an empty range where there is no value.

    Args:
        values: Any shape; overwritten.
        selection: The percentiles.
    """
    if not values.size:
        return ValueRange(low=0, high=0)
    low, high = np.percentile(values, [selection.low, selection.high], overwrite_input=True)
    return ValueRange(low=float(low), high=float(high))


def grey_mapping(values: NDArray[Any], selection: WindowSelection | None) -> Window | ValueRange:
    """Return how grey values of an image that is not DICOM become 8-bit grey, (values) to uint8 of the same shape.

    Args:
        values: Finite integers or floats, of any shape, not empty.
        selection: Centre and width in the units of the values, or percentiles; None is the range of the values.

    Raises:
        ImageError: ``image_window_not_applicable`` for a preset or a window of the file: such images have neither
            Hounsfield units nor windows.
    """
    match selection:
        case None:
            return ValueRange(low=float(values.min()), high=float(values.max()))
        case CenterWidth(center, width):
            return selected_window(center, width, integers=values.dtype.kind in "iu")
        case Percentiles():
            return percentile_range(values.copy(), selection)
        case Preset(name):
            raise not_applicable(f"the preset {name} for an image that is not in Hounsfield units")
        case _:
            raise not_applicable(f"window {selection} of a file without windows of its own")


def not_applicable(got: str) -> ImageError:
    """Return the error for a selection that an image has no use for."""
    return ImageError(
        f"expected a window that fits the image, got {got}: select CENTER/WIDTH or percentiles",
        code="image_window_not_applicable",
    )
