"""Resample a volume to the slices of an anatomical plane, with pixels of equal spacing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.errors import missing_extra
from medimageinsight.images import DecodedImage
from medimageinsight.images.budget import reserve
from medimageinsight.studies.study_image import StudyImage
from medimageinsight.studies.volumes.errors import plane_not_applicable
from medimageinsight.studies.volumes.geometry import PLANES, patient_axes
from medimageinsight.studies.volumes.volume import check_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import Limits, WindowSelection
    from medimageinsight.studies.origin import Origin, Plane
    from medimageinsight.studies.volumes.volume import Volume

_TOLERANCE = 1e-3  # of an index: positions that are those of voxels, in headers of 32-bit floats too
_BYTES = 48  # of a pixel: three coordinates, and results


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target:
    """The slices to resample to.

    Args:
        shape: Slices, rows and columns.
        to_voxels: (4, 4), from (slice, row, column, 1) to indices of the volume.
        positions_mm: Of each slice, along the normal of the plane.
    """

    shape: tuple[int, int, int]
    to_voxels: NDArray[np.float64]
    positions_mm: NDArray[np.float64]


def plane_slices(volume: Volume, plane: Plane, origin: Origin, limits: Limits) -> list[StudyImage]:
    """Return the slices of a volume in an anatomical plane, by linear interpolation along its true axes.

    The pixels have the smaller spacing of the two axes that the plane shows; the slices have the spacing of the axis
    that they follow. What is outside the volume is black and does not count for the range of grey values.

    Raises:
        ImageError: ``plane_not_applicable`` for a volume of one slice, ``image_too_large``.
        MissingExtraError: Without SciPy.
    """
    try:
        import scipy.ndimage  # noqa: F401
    except ImportError:
        raise missing_extra("volumes", "resampling to a plane") from None
    if min(volume.shape) < 2:
        raise plane_not_applicable("a single slice")
    target = _target(volume, plane, limits)
    return [
        StudyImage(
            origin=replace(origin, plane=plane, frame=index),
            read=partial(_decode_slice, volume, target, index),
            position_mm=float(target.positions_mm[index]),
        )
        for index in range(target.shape[0])
    ]


def _target(volume: Volume, plane: Plane, limits: Limits) -> _Target:
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    nearest = patient_axes(volume.affine)
    steps = [spacing[nearest.index(axis)] for axis, _ in PLANES[plane]]
    steps = [steps[0], min(steps[1:]), min(steps[1:])]
    directions = np.zeros((3, 3))  # a row for each axis of the target
    for index, (axis, sign) in enumerate(PLANES[plane]):
        directions[index, axis] = sign
    last = np.array(volume.shape, float) - 1
    corners = np.array(np.meshgrid(*[(0, end) for end in last], indexing="ij")).reshape(3, -1)
    along = directions @ (volume.affine[:3, :3] @ corners + volume.affine[:3, 3:])  # (3, 8) mm
    low, high = along.min(axis=1), along.max(axis=1)
    counts = np.floor((high - low) / steps + _TOLERANCE) + 1
    if counts.max() > max(limits.max_pixels, limits.max_frames):
        raise plane_not_applicable("spacings that differ too much")
    slices, rows, columns = (int(count) for count in counts)
    check_slices((slices, rows, columns), limits)
    to_mm = np.eye(4)
    to_mm[:3, :3] = directions.T * steps
    to_mm[:3, 3] = directions.T @ low
    return _Target(
        shape=(slices, rows, columns),
        to_voxels=np.linalg.inv(volume.affine) @ to_mm,
        positions_mm=low[0] + steps[0] * np.arange(slices),
    )


def _decode_slice(
    volume: Volume, target: _Target, index: int, window: WindowSelection | None, limits: Limits
) -> DecodedImage:
    _, rows, columns = target.shape
    values = volume.get(limits)
    with reserve(rows * columns * _BYTES, limits):
        pixels = _resample(values, target, index)
    if pixels.dtype.kind == "f" and np.isnan(pixels).all():  # between the corners of an oblique volume
        return DecodedImage(image=Image.new("L", (columns, rows)))
    return volume.display(volume.scale(pixels), window)


def _resample(values: NDArray[Any], target: _Target, index: int) -> NDArray[Any]:
    """Return one slice (H, W) or (H, W, channels): stored values where it meets voxels only, else float64."""
    _, rows, columns = target.shape
    row, column = np.arange(rows, dtype=float)[:, None], np.arange(columns, dtype=float)
    matrix = target.to_voxels[:3]
    at = np.stack([m[0] * index + m[1] * row + m[2] * column + m[3] for m in matrix])
    whole = np.rint(at)
    near = np.abs(at - whole) < _TOLERANCE
    at[near] = whole[near]
    if values.ndim == 4:
        channels = [_interpolate(values[..., channel], at) for channel in range(values.shape[3])]
        return np.rint(np.nan_to_num(np.stack(channels, axis=-1))).astype(np.uint8)
    if near.all() and all((at[axis] >= 0).all() and (at[axis] < values.shape[axis]).all() for axis in range(3)):
        stored: NDArray[Any] = values[tuple(at.astype(np.intp))]
        return stored
    return _interpolate(values, at)


def _interpolate(values: NDArray[Any], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values at fractional indices (3, H, W), NaN outside."""
    from scipy.ndimage import map_coordinates

    result: NDArray[np.float64] = map_coordinates(values, at, output=np.float64, order=1, cval=np.nan)
    return result
