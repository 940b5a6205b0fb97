"""A volume whose six sides differ, as DICOM slices of any acquisition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tests.images.dicom_datasets import make_dataset, to_file_bytes

if TYPE_CHECKING:
    from pathlib import Path

SPACING = (1.5, 1.0)  # of rows and of columns, mm
STEP = 4.0  # of slices, mm
SHAPE = (7, 18, 24)  # slices, rows, columns


class Acquisition(NamedTuple):
    row: tuple[float, float, float]  # direction cosines of ImageOrientationPatient
    column: tuple[float, float, float]
    tilt_mm: float = 0.0  # by which each slice is displaced along its columns, as of a tilted gantry


def _turned() -> Acquisition:
    """An axial acquisition, turned by 12 degrees about the left-right axis and then by 9 about the head-feet axis."""
    a, b = np.deg2rad([12, 9])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    axes = about_z @ about_x
    return Acquisition(row=tuple(axes[:, 0]), column=tuple(axes[:, 1]))


ACQUISITIONS = {
    "axial": Acquisition((1, 0, 0), (0, 1, 0)),
    "coronal": Acquisition((1, 0, 0), (0, 0, -1)),
    "sagittal": Acquisition((0, 1, 0), (0, 0, -1)),
    "oblique": _turned(),
}
TILTED = Acquisition((1, 0, 0), (0, 1, 0), tilt_mm=0.75)


def hounsfield_at(points: np.ndarray) -> np.ndarray:
    """Return the phantom's values at points (..., 3) in mm: they rise to the left, posterior and superior."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    return 7 * x + 3 * y + 11 * z


def positions(acquisition: Acquisition) -> np.ndarray:
    """Return the position (7, 3) of each slice's first pixel."""
    row, column = np.asarray(acquisition.row), np.asarray(acquisition.column)
    step = STEP * np.cross(row, column) + acquisition.tilt_mm * column
    first = np.array([-11.0, -8.0, 5.0])
    return first + np.arange(SHAPE[0])[:, None] * step


def voxels(acquisition: Acquisition) -> np.ndarray:
    """Return the values (slices, rows, columns), int16, with a bright mark in a corner of the first slice."""
    row, column = np.asarray(acquisition.row), np.asarray(acquisition.column)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    in_plane = rows[..., None] * SPACING[0] * column + columns[..., None] * SPACING[1] * row
    values = np.rint(hounsfield_at(positions(acquisition)[:, None, None] + in_plane)).astype(np.int16)
    values[0, 1:4, 2:7] = 900
    return values


def write_series(folder: Path, acquisition: Acquisition, *, slope: float = 1, intercept: float = -1024) -> Path:
    """Write one file a slice, with names in another order than their positions."""
    folder.mkdir(parents=True, exist_ok=True)
    values = voxels(acquisition)
    for index, position in enumerate(positions(acquisition)):
        dataset = make_dataset(
            np.rint((values[index] - intercept) / slope).astype(np.uint16),
            Modality="CT",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            StudyInstanceUID="1.2.3.1",
            SeriesInstanceUID="1.2.3.1.1",
            FrameOfReferenceUID="1.2.3.9",
            SeriesNumber=2,
            InstanceNumber=index + 1,
            PatientName="Phantom",
            PatientID="1",
            ImagePositionPatient=[f"{number:.10g}" for number in position],
            ImageOrientationPatient=[f"{number:.10g}" for number in (*acquisition.row, *acquisition.column)],
            PixelSpacing=list(SPACING),
            SliceThickness=STEP,
            RescaleSlope=slope,
            RescaleIntercept=intercept,
            RescaleType="HU",
        )
        data = bytearray(to_file_bytes(dataset))
        (folder / f"{(index * 3) % SHAPE[0]}.dcm").write_bytes(bytes(data))
    return folder
