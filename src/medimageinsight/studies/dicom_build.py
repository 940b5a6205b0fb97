"""Make the series of a study from the records of its DICOM files."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.studies.dicom_images import dicom_image, read_dataset
from medimageinsight.studies.dicom_split import Stack, split_frames
from medimageinsight.studies.geometry import SliceGeometry
from medimageinsight.studies.series import Series
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from collections.abc import Iterable

    from medimageinsight.images import Limits
    from medimageinsight.studies.dicom_record import DicomFile
    from medimageinsight.studies.geometry import Vector
    from medimageinsight.studies.study_image import Kind

_CROSS_SECTIONAL = ("CT", "MR", "PT")


def make_series(
    files: list[DicomFile], *, key: str, source: str, limits: Limits, warnings: Iterable[StudyWarning] = ()
) -> list[Series]:
    """Return the series that the files of one series UID form: usually one, see `dicom_split`.

    Single-frame files form it together; each file with several frames, and each concatenation, by itself.
    """
    left_out = 0
    stacks: list[Stack] = []
    for unit in _units(files):
        found, scouts = split_frames([frame for file in unit for frame in file.frames])
        left_out += scouts
        incomplete = _incomplete(unit)
        for stack in found:
            stack.warnings.extend(incomplete)
        stacks.extend(found)
    common = [*warnings, *localizers_excluded(left_out)]
    return [
        _series(
            stack,
            key=key if len(stacks) == 1 else f"{key}/{number}",
            source=source,
            limits=limits,
            warnings=common,
        )
        for number, stack in enumerate(stacks, 1)
    ]


def localizers_excluded(count: int) -> list[StudyWarning]:
    """Return the warning that localizers were left out, if any were."""
    return (
        [StudyWarning("localizers_excluded", f"localizers, by type, orientation or size, that were left out: {count}")]
        if count
        else []
    )


def _units(files: list[DicomFile]) -> list[list[DicomFile]]:
    """Return the files whose frames are sorted together: all single frames, each multi-frame file or concatenation."""
    single = [file for file in files if file.is_single]
    parts = defaultdict(list)
    for file in files:
        if not file.is_single:
            parts[file.concatenation[0] or f"file {id(file)}"].append(file)
    units = [
        sorted(unit, key=lambda file: (*file.concatenation[1:2], file.concatenation[3])) for unit in parts.values()
    ]
    units.sort(key=lambda unit: (unit[0].instance_number, unit[0].instance))
    for unit in units:
        _number_parts(unit)
    return [single, *units] if single else units


def _number_parts(unit: list[DicomFile]) -> None:
    """Give the parts of a concatenation, which have one instance number each, an order of their frames in common."""
    if len(unit) > 1:
        for number, file in enumerate(unit):
            file.instance_number = number
            file.is_loop = any(part.is_loop for part in unit)


def _incomplete(unit: list[DicomFile]) -> list[StudyWarning]:
    total = max(int(file.concatenation[2]) for file in unit)
    found = len({file.concatenation[1] for file in unit})
    if not unit[0].concatenation[0] or total <= found:
        return []
    return [StudyWarning("concatenation_incomplete", f"missing files of a concatenation of {total}: {total - found}")]


def _series(stack: Stack, *, key: str, source: str, limits: Limits, warnings: list[StudyWarning]) -> Series:
    first = stack.frames[0].file
    geometry = None if stack.orientation is None else _geometry(stack, stack.orientation)
    distances = [None] * len(stack.frames) if geometry is None else geometry.distances_mm.tolist()
    kind = _kind(stack, geometry)
    return Series(
        kind=kind,
        images=[
            dicom_image(
                frame.file.file,
                frame.index,
                count=frame.file.count,
                position_mm=distance,
                time_ms=frame.time_ms if kind == "loop" else None,
            )
            for frame, distance in zip(stack.frames, distances, strict=True)
        ],
        key=key,
        source=source,
        modality=first.modality,
        warnings=tuple(dict.fromkeys([*warnings, *stack.warnings, *_defects(stack, kind, geometry)])),
        geometry=geometry,
        header=partial(read_dataset, first.file, limits),
    )


def _geometry(stack: Stack, orientation: tuple[Vector, Vector]) -> SliceGeometry:
    first = stack.frames[0]
    return SliceGeometry(
        orientation=orientation,
        positions=np.asarray([frame.position for frame in stack.frames], dtype=np.float64),
        pixel_spacing=first.pixel_spacing,
        rows=first.file.rows,
        columns=first.file.columns,
    )


def _kind(stack: Stack, geometry: SliceGeometry | None) -> Kind:
    if len(stack.frames) == 1:
        return "image"
    if geometry is not None and geometry.spacing_mm is not None:
        return "slices"
    times = {(frame.time_ms, frame.phase.temporal) for frame in stack.frames}
    at_one_position = geometry is not None and len(times) == len(stack.frames)
    return "loop" if at_one_position or stack.frames[0].file.is_loop else "frames"


def _defects(stack: Stack, kind: Kind, geometry: SliceGeometry | None) -> list[StudyWarning]:
    """Return what is wrong with the positions of a series."""
    if geometry is None:
        if kind != "frames" or stack.frames[0].file.modality not in _CROSS_SECTIONAL:
            return []
        if all(frame.position is not None for frame in stack.frames):
            return [StudyWarning("orientations_mixed", "slices of many orientations: they were sorted by number")]
        return [StudyWarning("positions_missing", "slices without positions: they were sorted by number")]
    if kind != "slices":
        return []
    found = []
    spacing = geometry.spacing_mm
    if missing_slices := geometry.count_missing():
        message = f"missing slices: {missing_slices}; the distance of the others is {spacing:.4g} mm"
        found.append(StudyWarning("slices_missing", message))
    elif (uneven := geometry.uneven_steps()).size:
        message = (
            f"distances of neighbours from {min(uneven.min(), spacing):.4g} to {max(uneven.max(), spacing):.4g} mm"
        )
        found.append(StudyWarning("spacing_uneven", message))
    tilt = abs(stack.frames[0].file.tilt_degrees)
    if geometry.is_tilted or (tilt > 0.5 and stack.frames[0].file.modality == "CT"):
        message = f"slices are tilted by {max(tilt, geometry.tilt_degrees):.3g} degrees against their stack"
        found.append(StudyWarning("gantry_tilt", message))
    return found
