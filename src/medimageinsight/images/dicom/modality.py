"""The modality transformation of stored values: modality LUT or rescale (PS3.3 C.11.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.images.dicom.elements import frame_group, items, numbers
from medimageinsight.images.dicom.lookup_tables import LookupTable, read_lookup_table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """The linear modality transformation, in the units of the output (for example Hounsfield units)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Rescale stored values (PS3.3 C.11.1.1.2)."""
        return np.asarray(values, np.float64) * self.slope + self.intercept


def modality_transform(dataset: Dataset, frame: int, *, big_endian: bool) -> Rescale | LookupTable:
    """Return the modality LUT of a dataset, else the rescale of one frame; identity where it has neither."""
    if sequence := items(dataset, "ModalityLUTSequence"):
        return read_lookup_table(sequence[0], big_endian=big_endian)
    group = frame_group(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = numbers(group, "RescaleSlope"), numbers(group, "RescaleIntercept")
    # A slope of 0 would make every pixel equal: it is a writer's mistake and ignored.
    return Rescale(slope=(slope and slope[0]) or 1.0, intercept=intercept[0] if intercept else 0.0)
