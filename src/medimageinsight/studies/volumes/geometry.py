"""The position of voxels in the patient: the axes of slices, their display, and their positions.

All coordinates are DICOM's: millimetres towards the left, posterior and superior of the patient (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.studies.volumes.errors import bad_header

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.studies.origin import Plane

FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From coordinates towards the right, anterior and superior, as in NIfTI."""

PLANES: dict[Plane, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, -1), (2, -1), (1, 1)),
}
"""Patient axis and sign in which slices, rows and columns proceed: the patient's right is at the left of the image,
anterior or superior is up, and anterior is left in sagittal slices. The slices are in the order of DICOM's normal."""

# An axis is that of the slices if its spacing exceeds the next by this factor, and by more than that exceeds the third.
_ANISOTROPY = 1.2


@dataclass(frozen=True, kw_only=True)
class SliceGeometry:
    """The position of a slice: ImagePositionPatient, ImageOrientationPatient and PixelSpacing of DICOM.

    Args:
        position: The centre of the first pixel, in mm.
        row: The direction in which the columns of a row proceed, a unit vector.
        column: The direction in which the rows of a column proceed, a unit vector.
        spacing: Distance of rows and of columns, in mm.
        shape: Rows and columns.
    """

    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Voxels as slices, rows and columns, for a display.

    Args:
        axes: The array's axes of slices, rows and columns.
        reversed_axes: Whether each of them runs in the other direction.
        shape: Slices, rows and columns.
        affine: (4, 4), from (slice, row, column, 1) to millimetres.
    """

    axes: tuple[int, int, int]
    reversed_axes: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def view(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view (slices, rows, columns) of an array with three axes, or with channels as the fourth."""
        turned = array.transpose(*self.axes, *range(3, array.ndim))
        return turned[tuple(slice(None, None, -1) if backwards else slice(None) for backwards in self.reversed_axes)]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) distance of slices, rows and columns along their axes, in mm."""
        lengths: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    def position_mm(self, index: int) -> float:
        """Return the position of a slice along the normal of its rows and columns."""
        normal = np.cross(self.affine[:3, 2], self.affine[:3, 1])
        return float(normal / np.linalg.norm(normal) @ (self.affine @ [index, 0, 0, 1])[:3])


def check_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine (4, 4) if its axes span the space (``volume_bad_header``)."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e9:
        raise bad_header("positions that are not finite or not in millimetres")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        raise bad_header("axes that do not span the space")
    return affine


def patient_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """Return the patient axis (0 left, 1 posterior, 2 superior) that each axis of the voxels is nearest to."""
    directions = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    first, second, third = max(
        permutations(range(3)), key=lambda axes: sum(directions[axis, index] for index, axis in enumerate(axes))
    )
    return first, second, third


def acquired_plane(affine: NDArray[np.float64], slice_axis: int | None = None) -> Plane:
    """Return the plane that the slices were acquired in: that of the stated axis, else of the clearly largest spacing.

    Axial for voxels of nearly equal spacing.
    """
    if slice_axis is None:
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        small, middle, large = np.sort(spacing)
        if large <= _ANISOTROPY * middle or large / middle < middle / small:
            return "axial"
        slice_axis = int(np.argmax(spacing))
    axis = patient_axes(affine)[slice_axis]
    return next(plane for plane, axes in PLANES.items() if axes[0][0] == axis)


def stored_grid(shape: tuple[int, int, int], affine: NDArray[np.float64], plane: Plane) -> Grid:
    """Return voxels (i, j, k) as the slices that are nearest to a plane, without resampling."""
    nearest = patient_axes(affine)
    axes, backwards = [], []
    turned = affine.copy()
    for index, (axis, sign) in enumerate(PLANES[plane]):
        voxel_axis = nearest.index(axis)
        step = affine[:3, voxel_axis]
        opposite = step[axis] * sign < 0
        axes.append(voxel_axis)
        backwards.append(bool(opposite))
        turned[:3, index] = -step if opposite else step
        if opposite:
            turned[:3, 3] += step * (shape[voxel_axis] - 1)
    slices, rows, columns = (shape[axis] for axis in axes)
    return Grid(
        axes=(axes[0], axes[1], axes[2]),
        reversed_axes=(backwards[0], backwards[1], backwards[2]),
        shape=(slices, rows, columns),
        affine=turned,
    )
