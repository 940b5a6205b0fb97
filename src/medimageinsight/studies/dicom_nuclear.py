"""The frames of nuclear medicine, which vectors describe: slices, projections, phases, time slots (PS3.3 C.8.4.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.images.dicom.elements import items, texts
from medimageinsight.studies.dicom_record import Frame, Phase, number, numbers_at, read_plane
from medimageinsight.studies.geometry import normal_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.studies.dicom_record import DicomFile
    from medimageinsight.studies.geometry import Vector

_VIEWS = ("EnergyWindowVector", "DetectorVector")  # images of different views
_TIMES = ("PhaseVector", "RRIntervalVector", "TimeSlotVector", "TimeSliceVector")
_ANGLES = ("RotationVector", "AngularViewVector")
_IN_TIME = ("DYNAMIC", "GATED")  # image types of loops (C.8.4.9.1.1.3)


def nuclear_frames(file: DicomFile, dataset: Dataset) -> list[Frame]:
    """Return the frames of a file that a vector for each frame describes; nothing for other files.

    Slices of a reconstruction have the position of the first and a signed spacing along the normal.
    """
    vectors = {
        name: values
        for name in (*_VIEWS, *_TIMES, *_ANGLES, "SliceVector")
        if len(values := numbers_at(dataset, name)) == file.count
    }
    if not vectors:
        return []
    names = tuple(map(str.upper, texts(dataset, "ImageType")))
    file.is_loop = any(name in _IN_TIME for name in names)
    times = _phase_times(dataset, vectors)
    spacing = read_plane(dataset, dataset, dataset)[2]

    def at(index: int, keywords: tuple[str, ...]) -> tuple[float, ...]:
        return tuple(vectors[keyword][index] for keyword in keywords if keyword in vectors)

    frames = []
    for index in range(file.count):
        position, orientation = _slice_plane(dataset, vectors, index)
        views, phases = at(index, _VIEWS), at(index, _TIMES)
        frames.append(
            Frame(
                file=file,
                index=index,
                position=position,
                orientation=orientation,
                pixel_spacing=spacing,
                phase=Phase(temporal=phases, image_type=names),
                stack=",".join(f"{view:g}" for view in views),
                order=(*views, *phases, *at(index, (*_ANGLES, "SliceVector"))),
                time_ms=times[index] if times else None,
            )
        )
    return frames


def _slice_plane(
    dataset: Dataset, vectors: dict[str, tuple[float, ...]], index: int
) -> tuple[Vector | None, tuple[Vector, Vector] | None]:
    """Return the position and orientation of a slice (C.8.4.15.1)."""
    detectors = items(dataset, "DetectorInformationSequence")
    step = number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness")
    if "SliceVector" not in vectors or not detectors or not step:
        return None, None
    detector = int(vectors["DetectorVector"][index]) - 1 if "DetectorVector" in vectors else 0
    plane = detectors[detector] if 0 <= detector < len(detectors) else detectors[0]
    first, orientation, _ = read_plane(plane, plane, plane)
    if first is None or orientation is None:
        return None, None
    moved = np.asarray(first) + (vectors["SliceVector"][index] - 1) * step * normal_of(orientation)
    return tuple(moved.tolist()), orientation


def _phase_times(dataset: Dataset, vectors: dict[str, tuple[float, ...]]) -> list[float]:
    """Return the time of each frame of a dynamic study in milliseconds (C.8.4.14); nothing where none is stated."""
    phases = items(dataset, "PhaseInformationSequence")
    steps = [number(phase, "ActualFrameDuration") for phase in phases]
    if not steps or min(steps) <= 0 or "PhaseVector" not in vectors:
        return []
    counts = [int(number(phase, "NumberOfFramesInPhase")) for phase in phases]
    starts, now = [], 0.0
    for phase, step, count in zip(phases, steps, counts, strict=True):
        now += number(phase, "PhaseDelay")
        starts.append(now)
        now += count * step
    times = []
    slices = vectors.get("TimeSliceVector")
    for index, phase_number in enumerate(vectors["PhaseVector"]):
        phase_index = int(phase_number) - 1
        if not 0 <= phase_index < len(starts):
            return []
        within = slices[index] - 1 if slices else 0.0
        times.append(starts[phase_index] + within * steps[phase_index])
    return times
