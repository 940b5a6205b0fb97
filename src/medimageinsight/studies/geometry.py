"""The position in space of parallel slices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vector: TypeAlias = tuple[float, float, float]

_SAME_MM = 0.001  # positions that differ by less are equal
_UNEVEN = 0.02  # share of the spacing that a distance may differ by
_UNEVEN_MM = 0.05  # or this, as positions are often rounded, but at most
_UNEVEN_ROUNDED = 0.1  # of the spacing
_TILT_DEGREES = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceGeometry:
    """Where the slices of a series are, in the patient's coordinates (PS3.3 C.7.6.2.1.1).

    Args:
        orientation: The direction cosines of a row (to the right in the image) and of a column (downwards).
        positions: (N, 3) float64 millimetres, the centre of each slice's first pixel.
        pixel_spacing: Millimetres between rows and between columns; None where it is not known.
        rows: Of each slice.
        columns: Of each slice.
    """

    orientation: tuple[Vector, Vector]
    positions: NDArray[np.float64]
    pixel_spacing: tuple[float, float] | None
    rows: int
    columns: int

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector (3,) along which slices are sorted: row x column."""
        return normal_of(self.orientation)

    @cached_property
    def distances_mm(self) -> NDArray[np.float64]:
        """The position (N,) of each slice along the normal."""
        return self.positions @ self.normal

    @cached_property
    def spacing_mm(self) -> float | None:
        """The median distance of neighbouring slices, from their positions; None for less than two positions."""
        steps = self._steps
        return float(np.median(steps)) if steps.size else None

    @cached_property
    def is_uniform(self) -> bool:
        """Whether the slices have distinct positions at equal distances."""
        steps = self._steps
        return 0 < steps.size == len(self.positions) - 1 and not self.uneven_steps().size

    @cached_property
    def tilt_degrees(self) -> float:
        """The angle between the line through the positions and the normal, as of a tilted CT gantry."""
        line = self.positions[-1] - self.positions[0]
        along = float(line @ self.normal)
        across = float(np.linalg.norm(line - along * self.normal))
        return math.degrees(math.atan2(across, abs(along))) if abs(along) > _SAME_MM else 0.0

    @property
    def is_tilted(self) -> bool:
        """Whether the slices are parallel, but not stacked along their normal."""
        return self.tilt_degrees > _TILT_DEGREES

    def uneven_steps(self) -> NDArray[np.float64]:
        """Return the distances (n,) of neighbours that differ from `spacing_mm`."""
        steps, spacing = self._steps, self.spacing_mm or 0.0
        return steps[np.abs(steps - spacing) > _tolerance(spacing)]

    def count_missing(self) -> int:
        """Return the number of slices that are missing in gaps of whole multiples of the spacing."""
        uneven, spacing = self.uneven_steps(), self.spacing_mm
        if spacing is None or not uneven.size:
            return 0
        multiples = uneven / spacing
        whole = np.rint(multiples)
        gaps = (whole >= 2) & (np.abs(uneven - whole * spacing) <= whole * _tolerance(spacing))
        return int((whole[gaps] - 1).sum()) if gaps.all() else 0

    @cached_property
    def _steps(self) -> NDArray[np.float64]:
        """The distances of neighbours with different positions."""
        steps = np.diff(np.sort(self.distances_mm))
        return steps[steps > _SAME_MM]


def _tolerance(spacing: float) -> float:
    return max(_UNEVEN * spacing, min(_UNEVEN_MM, _UNEVEN_ROUNDED * spacing))


def normal_of(orientation: tuple[Vector, Vector]) -> NDArray[np.float64]:
    """Return the unit vector (3,) row x column."""
    vector = np.cross(np.asarray(orientation[0]), np.asarray(orientation[1]))
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0), dtype=np.float64)


def position_ranks(distances_mm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each distance (N,) the rank of its position from 0 on; equal positions have equal ranks."""
    order = np.argsort(distances_mm, kind="stable")
    ranks = np.empty(len(order), np.intp)
    ranks[order] = np.concatenate([[0], np.cumsum(np.diff(distances_mm[order]) > _SAME_MM)])
    return ranks
