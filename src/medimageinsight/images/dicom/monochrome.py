"""Render monochrome stored values as 8-bit grey: modality, VOI, presentation (PS3.3 C.11, PS3.4 N.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.images.dicom.lookup_tables import LookupTable
from medimageinsight.images.dicom.windowing import VoiLut
from medimageinsight.images.eight_bit import map_distinct_values
from medimageinsight.images.grey import ValueRange, Window, not_applicable, percentile_range, selected_window
from medimageinsight.images.window import PRESETS, CenterWidth, FileWindow, Percentiles, Preset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images.dicom.grey_transforms import GreyTransforms
    from medimageinsight.images.window import WindowSelection

Display: TypeAlias = Window | VoiLut | ValueRange
"""From modality values to 8-bit grey."""

_BLOCK = 1 << 18  # values that a look-up table is applied to at a time


def render_grey(stored: NDArray[Any], transforms: GreyTransforms, window: WindowSelection | None) -> NDArray[np.uint8]:
    """Map stored values of any shape to grey of the same shape.

    Args:
        stored: The values of a frame.
        transforms: Its transformations.
        window: The range to display; None is the file's first VOI LUT or window, else the range of the values.

    Raises:
        ImageError: ``image_window_not_applicable``.
    """
    display = _display(stored, transforms, window)
    grey = map_distinct_values(stored, lambda values: display(transforms.modality(values)))
    return np.subtract(255, grey, out=grey) if transforms.inverted else grey


def _display(stored: NDArray[Any], transforms: GreyTransforms, window: WindowSelection | None) -> Display:
    match window:
        case None:
            return transforms.choices[0].transform if transforms.choices else _value_range(stored, transforms)
        case FileWindow(index):
            if index >= len(transforms.choices):
                raise not_applicable(f"window {index} of a file with {len(transforms.choices)} of its own (from 0 on)")
            return transforms.choices[index].transform
        case Percentiles():
            return _percentile_range(stored, transforms, window)
        case Preset(name):
            if not transforms.hounsfield:
                raise not_applicable(f"the preset {name} for an image that is not in Hounsfield units")
            center, width = PRESETS[name]
        case CenterWidth(center, width):
            pass
    return selected_window(center, width, integers=transforms.spacing != "real")


def _value_range(stored: NDArray[Any], transforms: GreyTransforms) -> ValueRange:
    """Return the smallest and largest finite modality value outside padding (PS3.3 C.7.5.1.1.2)."""
    values = _comparable(stored, transforms)
    if not values.size:
        return ValueRange(low=0, high=0)
    return _modality_range(values.min(), values.max(), transforms)


def _percentile_range(stored: NDArray[Any], transforms: GreyTransforms, selection: Percentiles) -> ValueRange:
    """Return the range between percentiles of the finite modality values outside padding."""
    modality = transforms.modality
    if not isinstance(modality, LookupTable) and modality.slope < 0:  # the order is reversed
        selection = Percentiles(100 - selection.high, 100 - selection.low)
    found = percentile_range(_comparable(stored, transforms), selection)
    return _modality_range(found.low, found.high, transforms)


def _comparable(stored: NDArray[Any], transforms: GreyTransforms) -> NDArray[Any]:
    """Return a copy (n,) of the finite values outside padding: of a modality LUT its results, else the stored values.

    A rescale keeps the order or reverses it: it can be applied to the few values that a comparison finds.
    """
    included = np.isfinite(stored) if stored.dtype.kind == "f" else np.ones(stored.shape, bool)
    if transforms.padding is not None:
        low, high = transforms.padding
        included &= (stored < low) | (stored > high)
    values: NDArray[Any] = stored[included]
    if not isinstance(transforms.modality, LookupTable):
        return values
    mapped = np.empty(values.shape, np.uint16)
    for start in range(0, values.size, _BLOCK):
        mapped[start : start + _BLOCK] = transforms.modality(values[start : start + _BLOCK])
    return mapped


def _modality_range(low: float, high: float, transforms: GreyTransforms) -> ValueRange:
    """Return the range of modality values between two values of `_comparable`."""
    ends = np.array([low, high], np.float64)
    if not isinstance(transforms.modality, LookupTable):
        ends = transforms.modality(ends)
    return ValueRange(low=float(ends.min()), high=float(ends.max()))
