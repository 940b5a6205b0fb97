"""What a file states about the display of a monochrome frame: modality values, windows, padding, polarity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from medimageinsight.images.decoded import ImageWarning
from medimageinsight.images.dicom.elements import first_number, fit_word, items, text, words
from medimageinsight.images.dicom.lookup_tables import LookupTable
from medimageinsight.images.dicom.modality import Rescale, is_in_hounsfield_units, modality_transform
from medimageinsight.images.dicom.transfer_syntax import transfer_syntax
from medimageinsight.images.dicom.windowing import voi_choices
from medimageinsight.images.grey import Window
from medimageinsight.images.window import CenterWidth, ListedWindow

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.images.dicom.windowing import Spacing, VoiChoice

Bounds: TypeAlias = tuple[float, float]

_ANY_INTEGER = (-float(1 << 31), float(1 << 32))  # bounds of stored values
_GROUPS_MALFORMED = ImageWarning(
    "functional_groups_malformed", "the functional groups do not describe this frame: shared or no values were used"
)


@dataclass(frozen=True, kw_only=True)
class GreyTransforms:
    """The transformations of one frame's stored values to grey."""

    modality: Rescale | LookupTable  # stored values to modality values
    spacing: Spacing  # of modality values
    hounsfield: bool  # whether modality values are Hounsfield units
    choices: list[VoiChoice]  # usable VOI LUTs and windows of modality values to grey
    padding: Bounds | None  # lowest and highest stored value of padding pixels
    inverted: bool  # whether the smallest value is white
    warnings: tuple[ImageWarning, ...]


def grey_transforms(dataset: Dataset, frame: int, *, bounds: Bounds, big_endian: bool) -> GreyTransforms:
    """Return the transformations of one frame, from its functional groups where it has any.

    Args:
        dataset: The image.
        frame: Index of the frame.
        bounds: The smallest and largest possible stored value; infinite for real numbers.
        big_endian: Whether words are big endian.
    """
    modality, modality_warnings = modality_transform(dataset, frame, bounds=bounds, big_endian=big_endian)
    spacing = _spacing(modality, bounds)
    choices, voi_warnings = voi_choices(
        dataset, frame, bounds=_modality_bounds(modality, bounds), spacing=spacing, big_endian=big_endian
    )
    described = len(items(dataset, "PerFrameFunctionalGroupsSequence"))
    return GreyTransforms(
        modality=modality,
        spacing=spacing,
        hounsfield=is_in_hounsfield_units(dataset, frame, modality),
        choices=choices,
        padding=_padding(dataset, bounds, big_endian=big_endian),
        # PS3.3 C.7.6.3.1.2 and C.11.6.1.2; both may be given for the same single inversion (C.8.11.3.1)
        inverted=text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
        or text(dataset, "PresentationLUTShape") == "INVERSE",
        warnings=(
            *((_GROUPS_MALFORMED,) if 0 < described <= frame else ()),
            *modality_warnings,
            *voi_warnings,
        ),
    )


def _spacing(modality: Rescale | LookupTable, bounds: Bounds) -> Spacing:
    if math.isinf(bounds[0]):
        return "real"
    if isinstance(modality, LookupTable) or (modality.slope.is_integer() and modality.intercept.is_integer()):
        return "integer"
    return "rescaled"


def _modality_bounds(modality: Rescale | LookupTable, bounds: Bounds) -> Bounds:
    """Return the smallest and largest possible modality value."""
    if isinstance(modality, LookupTable):
        return float(modality.entries.min()), float(modality.entries.max())
    low, high = sorted(end * modality.slope + modality.intercept for end in bounds)
    return low, high


def _padding(dataset: Dataset, bounds: Bounds, *, big_endian: bool) -> Bounds | None:
    if stated := words(dataset, "PixelPaddingValue", big_endian=big_endian):
        limits = words(dataset, "PixelPaddingRangeLimit", big_endian=big_endian)
        ends = [float(fit_word(word, bounds)) for word in (stated[0], *limits[:1])]
        # PS3.3 C.7.5.1.1.2: the limit may be below or above the value
        return min(ends), max(ends)
    for keyword in ("FloatPixelPadding", "DoubleFloatPixelPadding"):
        if (value := first_number(dataset, f"{keyword}Value")) is not None:
            limit = first_number(dataset, f"{keyword}RangeLimit")
            return (value, value) if limit is None else (min(value, limit), max(value, limit))
    return None


def list_windows(dataset: Dataset, *, frame: int) -> tuple[ListedWindow, ...]:
    """Return a frame's own usable VOI LUTs and windows, in the order of their indices; nothing for colour."""
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", ""):
        return ()
    bounds = _ANY_INTEGER if "PixelData" in dataset else (-math.inf, math.inf)
    big_endian = not transfer_syntax(dataset).is_little_endian
    choices = grey_transforms(dataset, frame, bounds=bounds, big_endian=big_endian).choices
    return tuple(
        ListedWindow(
            index=index,
            window=CenterWidth(choice.transform.center, choice.transform.width)
            if isinstance(choice.transform, Window)
            else None,
            explanation=choice.explanation,
        )
        for index, choice in enumerate(choices)
    )
