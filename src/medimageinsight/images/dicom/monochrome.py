"""Render monochrome stored values as 8-bit grey: modality, VOI, presentation (PS3.3 C.11, PS3.4 N.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.images.dicom.elements import numbers, text
from medimageinsight.images.dicom.modality import modality_transform
from medimageinsight.images.dicom.windowing import Window, apply_voi_lut, voi_transform
from medimageinsight.images.eight_bit import scale_to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images.dicom.lookup_tables import LookupTable
    from medimageinsight.images.dicom.modality import Rescale


@dataclass(frozen=True, kw_only=True)
class GreyTransforms:
    """The transformations of one frame's stored values to grey."""

    modality: Rescale | LookupTable  # stored values to modality values
    voi: Window | LookupTable | None  # modality values to grey; None maps the frame's minimum..maximum to 0..255
    padding: tuple[float, float] | None  # lowest and highest stored value of padding pixels
    inverted: bool  # whether the smallest value is white


def grey_transforms(dataset: Dataset, frame: int, *, big_endian: bool) -> GreyTransforms:
    """Return the transformations of one frame, from its functional groups where it has any."""
    # PS3.3 C.7.6.3.1.2 and C.11.6.1.2; both may be given for the same single inversion (C.8.11.3.1)
    inverted = (
        text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE"
    )
    return GreyTransforms(
        modality=modality_transform(dataset, frame, big_endian=big_endian),
        voi=voi_transform(dataset, frame, big_endian=big_endian),
        padding=_padding(dataset),
        inverted=inverted,
    )


def render_grey(stored: NDArray[Any], transforms: GreyTransforms) -> NDArray[np.uint8]:
    """Map stored values of any shape to grey of the same shape."""
    values = transforms.modality(stored)
    if transforms.voi is None:
        grey = scale_to_uint8(values, *_range_without_padding(stored, values, transforms.padding))
    elif isinstance(transforms.voi, Window):
        grey = transforms.voi(values)
    else:
        grey = apply_voi_lut(transforms.voi, values)
    return 255 - grey if transforms.inverted else grey


def _range_without_padding(
    stored: NDArray[Any], values: NDArray[Any], padding: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the smallest and largest finite modality value outside padding (PS3.3 C.7.5.1.1.2)."""
    included = np.isfinite(values)
    if padding is not None:
        included &= (stored < padding[0]) | (stored > padding[1])
    inside = values[included]
    return (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue"):
        if value := numbers(dataset, keyword):
            # PS3.3 C.7.5.1.1.2: the limit may be below or above the value
            limit = numbers(dataset, keyword.replace("Value", "RangeLimit")) or value
            return min(value[0], limit[0]), max(value[0], limit[0])
    return None
