"""Reformat parallel DICOM slices to an anatomical plane."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medimageinsight.images import DecodedImage
from medimageinsight.images.budget import reserve
from medimageinsight.images.dicom.elements import text
from medimageinsight.images.dicom.grey_transforms import grey_transforms
from medimageinsight.images.dicom.modality import Rescale
from medimageinsight.images.dicom.monochrome import render_grey
from medimageinsight.studies.volumes.errors import plane_not_applicable, too_large
from medimageinsight.studies.volumes.geometry import check_affine
from medimageinsight.studies.volumes.planes import plane_slices
from medimageinsight.studies.volumes.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits, WindowSelection
    from medimageinsight.images.dicom.grey_transforms import GreyTransforms
    from medimageinsight.studies.geometry import SliceGeometry
    from medimageinsight.studies.origin import Plane
    from medimageinsight.studies.series import Series
    from medimageinsight.studies.study_image import StudyImage

_ANY_INTEGER = (-float(1 << 31), float(1 << 32))  # bounds of stored values
_INT16 = np.iinfo(np.int16)


def reformat_series(series: Series, plane: Plane, limits: Limits) -> Series:
    """Return parallel slices as those of a plane, in the windows of the first of them.

    Raises:
        ImageError: ``plane_not_applicable`` for anything but grey slices of one size and orientation at equal
            distances; ``volume_too_large``, ``image_too_large``.
        MissingExtraError: Without SciPy.
    """
    geometry, dataset = series.geometry, series.header()
    if geometry is None or dataset is None or geometry.pixel_spacing is None:
        raise plane_not_applicable("images without positions in space")
    if len(geometry.positions) != len(series.images) or not geometry.is_uniform:
        raise plane_not_applicable("slices at unequal distances or at the same position")
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", ""):
        raise plane_not_applicable("slices in colour")
    shape = (len(series.images), geometry.rows, geometry.columns)
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    if size > limits.max_decoded_bytes:
        raise too_large(size, limits.max_decoded_bytes)
    volume = Volume(
        shape=shape,
        affine=check_affine(_affine(geometry)),
        bytes_needed=size,
        read=partial(_load, series.images, shape),
        display=partial(_display, _transforms(dataset)),
    )
    images = plane_slices(volume, plane, replace(series.images[0].origin, frame=None), limits)
    return replace(series, kind="volume", images=images, geometry=None)


def _affine(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Return the affine of (slice, row, column); slices of a tilted gantry are not along their normal."""
    row, column = (np.asarray(direction, float) for direction in geometry.orientation)
    between_rows, between_columns = geometry.pixel_spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = (geometry.positions[-1] - geometry.positions[0]) / (len(geometry.positions) - 1)
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = row * between_columns
    affine[:3, 3] = geometry.positions[0]
    return affine


def _load(images: Sequence[StudyImage], shape: tuple[int, int, int], limits: Limits) -> NDArray[Any]:
    """Return the modality values (slices, rows, columns): int16 if all of them are, else float32."""
    values: NDArray[Any] = np.empty(shape, np.int16)
    for index, image in enumerate(images):
        part = image.values(limits=limits)
        if part.shape != shape[1:]:
            raise plane_not_applicable("slices of different sizes")
        if values.dtype == np.int16 and not _is_int16(part):
            with reserve(values.size * 4, limits):
                values = values.astype(np.float32)
        values[index] = part
    return values


def _is_int16(values: NDArray[Any]) -> bool:
    low, high = values.min(), values.max()
    return bool(low >= _INT16.min and high <= _INT16.max and np.array_equal(values, np.rint(values)))


def _transforms(dataset: Dataset) -> GreyTransforms:
    """Return how modality values of the slices are displayed."""
    transforms = grey_transforms(dataset, 0, bounds=_ANY_INTEGER, big_endian=False)
    padding = transforms.padding
    if padding is not None and isinstance(transforms.modality, Rescale):
        low, high = sorted(end * transforms.modality.slope + transforms.modality.intercept for end in padding)
        padding = (low, high)
    return replace(transforms, modality=Rescale(), padding=padding)


def _display(transforms: GreyTransforms, values: NDArray[Any], window: WindowSelection | None) -> DecodedImage:
    pixels = render_grey(values, transforms, window)
    return DecodedImage(image=Image.fromarray(np.ascontiguousarray(pixels)), warnings=transforms.warnings)
