"""A volume whose values are read when the first of its slices is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from medimageinsight.errors import ImageError
from medimageinsight.images import PRESETS, ImageWarning
from medimageinsight.images.arrays import from_samples
from medimageinsight.images.window import CenterWidth, Preset
from medimageinsight.studies.shared import Shared
from medimageinsight.studies.study_image import StudyImage
from medimageinsight.studies.volumes.geometry import stored_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.images import DecodedImage, Limits, WindowSelection
    from medimageinsight.studies.origin import Origin, Plane
    from medimageinsight.studies.volumes.geometry import Grid

Read: TypeAlias = "Callable[[Limits], NDArray[Any]]"
Scale: TypeAlias = "Callable[[NDArray[Any]], NDArray[Any]]"
Display: TypeAlias = "Callable[[NDArray[Any], WindowSelection | None], DecodedImage]"

HOUNSFIELD_ASSUMED = ImageWarning(
    "hounsfield_assumed", "a preset in Hounsfield units was applied to a file that does not state its units"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume(Shared["NDArray[Any]"]):
    """Values on a regular grid in space.

    Args:
        shape: Voxels along the three axes of the values.
        affine: (4, 4), from the indices along these axes to DICOM's coordinates in millimetres.
        bytes_needed: Of the stored values.
        read: Returns the stored values (i, j, k) or (i, j, k, channels).
        scale: From stored values of any shape to those that the file means.
        display: From meant values (H, W) or (H, W, channels) to an image.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    bytes_needed: int
    read: Read
    scale: Scale = lambda values: values
    display: Display

    @property
    def size(self) -> int:
        """Bytes of the stored values."""
        return self.bytes_needed

    def load(self, limits: Limits) -> NDArray[Any]:
        """Return the stored values."""
        return self.read(limits)


def stored_slices(volume: Volume, plane: Plane, origin: Origin, limits: Limits) -> list[StudyImage]:
    """Return the slices that are nearest to a plane, unchanged but for the orientation of their display.

    Raises:
        ImageError: ``image_too_large`` for the size of a slice, or their number.
    """
    grid = stored_grid(volume.shape, volume.affine, plane)
    check_slices(grid.shape, limits)
    count = grid.shape[0]
    return [
        StudyImage(
            origin=replace(origin, frame=index if count > 1 else None),
            read=partial(_decode_slice, volume, grid, index),
            position_mm=grid.position_mm(index),
        )
        for index in range(count)
    ]


def check_slices(shape: tuple[int, int, int], limits: Limits) -> None:
    """Reject slices, rows and columns beyond the limits (``image_too_large``)."""
    count, rows, columns = shape
    limits.check_size(columns, rows)
    if count > limits.max_frames:
        raise ImageError(
            f"expected a volume of at most {limits.max_frames:,} slices, got {count:,}: crop it",
            code="image_too_large",
        )


def _decode_slice(
    volume: Volume, grid: Grid, index: int, window: WindowSelection | None, limits: Limits
) -> DecodedImage:
    return volume.display(volume.scale(grid.view(volume.get(limits))[index]), window)


def display_values(
    values: NDArray[Any], window: WindowSelection | None, *, steps: bool, hounsfield: bool = False
) -> DecodedImage:
    """Return the image of a slice of a file without windows of its own.

    Args:
        values: (H, W) or (H, W, channels): mapped as by `images.open` of an array.
        window: The range of grey values to display instead of the smallest to the largest of the slice.
        steps: Whether the stored values are integers, so that a window has steps as in DICOM (PS3.3 C.11.2.1.2.1).
        hounsfield: Whether the file states that the values are Hounsfield units, which a preset assumes.
    """
    assumed = isinstance(window, Preset) and not hounsfield
    if isinstance(window, Preset):
        window = CenterWidth(*PRESETS[window.name])
    if isinstance(window, CenterWidth) and window.width >= 1 and steps and values.dtype.kind == "f":
        # Of scaled integers: the same range in the terms of real numbers; of width 1, a threshold.
        window = CenterWidth(window.center - 0.5, max(window.width - 1, 1e-9))
    decoded = from_samples(values, window=window)
    return replace(decoded, warnings=(*decoded.warnings, HOUNSFIELD_ASSUMED)) if assumed else decoded
