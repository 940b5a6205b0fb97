"""The modality transformation of stored values: modality LUT or rescale (PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.errors import ImageError
from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.elements import first_number, frame_groups, items, text
from medimageinsight.images.dicom.lookup_tables import LookupTable, read_lookup_table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_MALFORMED = ImageWarning(
    "modality_lut_malformed", "the modality LUT is empty, short or malformed: the rescale, if any, was applied instead"
)
_XRAY_ANGIOGRAPHY = "1.2.840.10008.5.1.4.1.1.12."  # XA, XRF, biplane, enhanced XA and XRF
_XRAY_MODALITIES = ("XA", "XRF", "RF")
_CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """The linear modality transformation, in the units of the output (for example Hounsfield units)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Rescale stored values (PS3.3 C.11.1.1.2)."""
        return np.asarray(values, np.float64) * self.slope + self.intercept


def modality_transform(
    dataset: Dataset, frame: int, *, bounds: tuple[float, float], big_endian: bool
) -> tuple[Rescale | LookupTable, tuple[ImageWarning, ...]]:
    """Return the modality LUT of a dataset, else the rescale of one frame; identity where it has neither.

    X-ray angiography and fluoroscopy (XA, XRF) have a modality LUT or rescale that makes their values proportional to
    the X-ray intensity; it is not applied for display (PS3.4 N.2.5, PS3.3 C.8.7.1.1.2).

    Args:
        dataset: The image.
        frame: Index of the frame.
        bounds: The smallest and largest possible stored value.
        big_endian: Whether words are big endian.
    """
    if _is_xray_angiography(dataset):
        return Rescale(), ()
    warnings: tuple[ImageWarning, ...] = ()
    for item in items(dataset, "ModalityLUTSequence"):
        try:
            return read_lookup_table(item, bounds=bounds, big_endian=big_endian), warnings
        except ImageError:
            warnings = (_MALFORMED,)
    for group in frame_groups(dataset, frame, "PixelValueTransformationSequence"):
        slope, intercept = first_number(group, "RescaleSlope"), first_number(group, "RescaleIntercept")
        if slope is not None or intercept is not None:
            # A slope of 0 would make every pixel equal: it is a writer's mistake and ignored.
            return Rescale(slope=slope or 1.0, intercept=intercept or 0.0), warnings
    return Rescale(), warnings


def is_in_hounsfield_units(dataset: Dataset, frame: int, modality: Rescale | LookupTable) -> bool:
    """Return whether modality values are Hounsfield units: stated, or of a CT that states nothing (PS3.3 C.8.2.1)."""
    if _is_xray_angiography(dataset):
        return False
    if isinstance(modality, LookupTable):
        return any(text(item, "ModalityLUTType") == "HU" for item in items(dataset, "ModalityLUTSequence"))
    groups = frame_groups(dataset, frame, "PixelValueTransformationSequence")
    stated = next(filter(None, (text(group, "RescaleType") for group in groups)), "")
    if stated:
        return stated in ("HU", "HU_MOD")
    return text(dataset, "SOPClassUID") in _CT or text(dataset, "Modality") == "CT"


def _is_xray_angiography(dataset: Dataset) -> bool:
    sop_class = text(dataset, "SOPClassUID")
    if sop_class:
        return sop_class.startswith(_XRAY_ANGIOGRAPHY)
    return text(dataset, "Modality") in _XRAY_MODALITIES
