"""The frames of a DICOM file: their position, phase and time, from the header or its functional groups."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from medimageinsight.images.dicom.elements import first_number, items, numbers, text, texts
from medimageinsight.studies.dicom_nuclear import nuclear_frames
from medimageinsight.studies.dicom_record import (
    Frame,
    Phase,
    first_item,
    number,
    numbers_at,
    read_phase,
    read_plane,
    shared,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.studies.dicom_record import DicomFile

_LOOP_MODALITIES = ("US", "IVUS", "XA", "RF", "XRF", "ES")  # whose plain multi-frame files are cine loops
_POSITION_DIMENSIONS = (0x00200032, 0x00209057, 0x00209056, 0x00209301, 0x00209113, 0x0020930E)
"""ImagePositionPatient, InStackPositionNumber, StackID, ImagePositionVolume, PlanePositionSequence, ...Volume..."""
_FRAME_TYPES = (
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "XRay3DFrameTypeSequence",
)


def add_frames(file: DicomFile, dataset: Dataset) -> None:
    """Add the frames of a file to its record, in the order in which they are stored."""
    per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
    if per_frame or "SharedFunctionalGroupsSequence" in dataset:
        frames = _functional_frames(file, dataset, per_frame)
    elif file.count == 1:
        frames = [_single_frame(file, dataset)]
    else:
        frames = nuclear_frames(file, dataset) or _plain_frames(file, dataset)
    if file.count > 1 and all(frame.position is None for frame in frames):
        times = _frame_times(dataset, file.count)
        file.is_loop = file.is_loop or bool(times) or file.modality in _LOOP_MODALITIES
        if times and all(frame.time_ms is None for frame in frames):
            frames = [replace(frame, time_ms=time) for frame, time in zip(frames, times, strict=True)]
    file.frames.extend(frames)


def _single_frame(file: DicomFile, dataset: Dataset) -> Frame:
    position, orientation, spacing = read_plane(dataset, dataset, dataset)
    return Frame(
        file=file,
        index=0,
        position=position,
        orientation=orientation,
        pixel_spacing=spacing,
        phase=shared(read_phase(dataset)),
        time_ms=first_number(dataset, "TriggerTime"),
    )


def _plain_frames(file: DicomFile, dataset: Dataset) -> list[Frame]:
    """Return the frames of a file that does not describe each: their order is that of the file."""
    spacing = read_plane(dataset, dataset, dataset)[2]
    phase = shared(read_phase(dataset))
    return [
        Frame(file=file, index=index, position=None, orientation=None, pixel_spacing=spacing, phase=phase)
        for index in range(file.count)
    ]


def _frame_times(dataset: Dataset, count: int) -> list[float]:
    """Return the time of each frame in milliseconds from the first (PS3.3 C.7.6.5), nothing where none is stated."""
    increments = numbers_at(dataset, "FrameTimeVector")
    if len(increments) == count:
        return list(accumulate((0.0, *increments[1:])))
    step = number(dataset, "FrameTime")
    if step <= 0:
        rate = number(dataset, "CineRate") or number(dataset, "RecommendedDisplayFrameRate")
        step = 1000 / rate if rate > 0 else 0.0
    return [index * step for index in range(count)] if step > 0 else []


class _Groups:
    """The functional groups of one frame: its own, then those shared by all frames, then the dataset (C.7.6.16.2)."""

    def __init__(self, own: Dataset | None, shared: Dataset | None, dataset: Dataset) -> None:
        self._groups = [group for group in (own, shared) if group is not None]
        self._dataset = dataset

    def macro(self, keyword: str) -> Dataset:
        """Return the item of a macro; the dataset where no group has it."""
        found = (first_item(group, keyword) for group in self._groups)
        return next((item for item in found if item is not None), self._dataset)


def _functional_frames(file: DicomFile, dataset: Dataset, per_frame: list[Dataset]) -> list[Frame]:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    is_other = [
        int(number(item, "DimensionIndexPointer")) not in _POSITION_DIMENSIONS
        for item in items(dataset, "DimensionIndexSequence")
    ]
    return [
        _functional_frame(
            file, index, _Groups(per_frame[index] if index < len(per_frame) else None, shared, dataset), is_other
        )
        for index in range(file.count)
    ]


def _functional_frame(file: DicomFile, index: int, groups: _Groups, is_other: list[bool]) -> Frame:
    content = groups.macro("FrameContentSequence")
    measures = groups.macro("PixelMeasuresSequence")
    position, orientation, spacing = read_plane(
        groups.macro("PlanePositionSequence"), groups.macro("PlaneOrientationSequence"), measures
    )
    if position is None:  # C.7.6.16.2.20 and 21
        planes = groups.macro("PlanePositionVolumeSequence"), groups.macro("PlaneOrientationVolumeSequence")
        position, orientation, _ = read_plane(*planes, measures, space="Volume")
    indices = numbers_at(content, "DimensionIndexValues")
    heart = groups.macro("CardiacSynchronizationSequence")
    delay = first_number(heart, "NominalCardiacTriggerDelayTime")
    offset = first_number(groups.macro("TemporalPositionSequence"), "TemporalPositionTimeOffset")
    return Frame(
        file=file,
        index=index,
        position=position,
        orientation=orientation,
        pixel_spacing=spacing,
        phase=_functional_phase(groups, tuple(value for value, other in zip(indices, is_other, strict=False) if other)),
        stack=next(iter(texts(content, "StackID")), ""),
        order=indices,
        time_ms=delay if offset is None else 1000 * offset,
    )


def _functional_phase(groups: _Groups, dimensions: tuple[float, ...]) -> Phase:
    content = groups.macro("FrameContentSequence")
    diffusion = groups.macro("MRDiffusionSequence")
    direction = first_item(diffusion, "DiffusionGradientDirectionSequence") or diffusion
    heart = groups.macro("CardiacSynchronizationSequence")
    frame_type = next(
        (found for name in _FRAME_TYPES if "FrameType" in (found := groups.macro(name))), groups.macro("")
    )
    names = texts(frame_type, "FrameType") or texts(frame_type, "ImageType")
    return Phase(
        temporal=(number(content, "TemporalPositionIndex"), number(content, "TemporalPositionIdentifier")),
        echo=(round(number(groups.macro("MREchoSequence"), "EffectiveEchoTime"), 3),),
        b_value=numbers_at(diffusion, "DiffusionBValue")[:1],
        direction=tuple(round(value, 4) for value in numbers(direction, "DiffusionGradientOrientation")),
        image_type=(*map(str.upper, names), text(frame_type, "ComplexImageComponent")),
        cardiac=(
            number(heart, "NominalPercentageOfCardiacPhase"),
            number(heart, "NominalCardiacTriggerDelayTime"),
        ),
        acquisition=(number(content, "FrameAcquisitionNumber"),),
        dimensions=dimensions,
    )
