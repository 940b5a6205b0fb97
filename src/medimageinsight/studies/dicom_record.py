"""What is known of a DICOM file from its header: where it belongs, and where each of its frames is."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from medimageinsight.images.dicom.elements import first_number, items, numbers, text, texts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.geometry import Vector

SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage, a DICOMDIR
_SIEMENS_B_VALUE = 0x0019100C
_GE_B_VALUE = 0x00431039
_MAX_UID = 64  # characters (PS3.5 9.1)

KEYWORDS: tuple[str | int, ...] = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "ImageType"),
    *("SeriesNumber", "AcquisitionNumber", "InstanceNumber", "Rows", "Columns", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "GantryDetectorTilt"),
    *("TemporalPositionIdentifier", "EchoTime", "EchoNumbers", "DiffusionBValue", "DiffusionGradientOrientation"),
    *("ComplexImageComponent", "NominalPercentageOfCardiacPhase", "TriggerTime", "FrameReferenceTime"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence"),
    *("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber"),
    *("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"),
    *("EnergyWindowVector", "DetectorVector", "PhaseVector", "RotationVector", "RRIntervalVector", "TimeSlotVector"),
    *("SliceVector", "AngularViewVector", "TimeSliceVector", "SpacingBetweenSlices", "SliceThickness"),
    *("DetectorInformationSequence", "PhaseInformationSequence"),
    *(_SIEMENS_B_VALUE, _GE_B_VALUE),
)

_T = TypeVar("_T")
Key: TypeAlias = tuple[float | str, ...]
"""A value that tells apart the images of one position; of equal types in all images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """What tells apart images of one position, in the order in which they are sorted."""

    temporal: Key = ()
    echo: Key = ()
    b_value: Key = ()
    direction: Key = ()
    image_type: Key = ()
    cardiac: Key = ()
    acquisition: Key = ()
    dimensions: Key = ()  # the other dimensions of a multi-frame file (PS3.3 C.7.6.17)

    def sort_key(self) -> tuple[Key, ...]:
        """Return the values in their order."""
        return (
            *(self.temporal, self.echo, self.b_value, self.direction, self.image_type),
            *(self.cardiac, self.acquisition, self.dimensions),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One image of a file."""

    file: DicomFile
    index: int  # in the file
    position: Vector | None
    orientation: tuple[Vector, Vector] | None
    pixel_spacing: tuple[float, float] | None
    phase: Phase
    stack: str = ""
    order: Key = ()  # where no position decides: dimension indices, vectors of nuclear medicine
    time_ms: float | None = None

    @property
    def number(self) -> tuple[float, str, int]:
        """The order of images that nothing else tells apart; never the name of a file."""
        return self.file.instance_number, self.file.instance, self.index

    @property
    def is_localizer(self) -> bool:
        """Whether the image type states it (PS3.3 C.8.2.1.1.1)."""
        return any(value in ("LOCALIZER", "SCOUT") for value in self.phase.image_type)


@dataclass(kw_only=True, slots=True, eq=False)
class DicomFile:
    """The header of a file, as far as it decides on studies, series and order."""

    file: StudyFile
    patient: str
    study: str
    series: str
    instance: str
    sop_class: str
    modality: str
    series_number: float
    instance_number: float
    rows: int
    columns: int
    count: int  # of frames
    size: int  # bytes, 0 where it is not known
    tilt_degrees: float
    concatenation: tuple[str, float, float, float]  # UID, number, total, offset of the first frame
    is_loop: bool = False  # whether its frames follow each other in time
    frames: list[Frame] = field(default_factory=list)

    @property
    def is_single(self) -> bool:
        """Whether it has one frame, and was not cut out of a file with several."""
        return self.count == 1 and not self.concatenation[0]


def read_record(file: StudyFile, dataset: Dataset, *, size: int, max_frames: int) -> DicomFile:
    """Return the record of a file, without its frames: see `dicom_frames.add_frames`."""
    return DicomFile(
        file=file,
        patient=sys.intern(_text(dataset, "PatientID")),
        study=sys.intern(_uid(dataset, "StudyInstanceUID")),
        series=sys.intern(_uid(dataset, "SeriesInstanceUID")),
        instance=_uid(dataset, "SOPInstanceUID"),
        sop_class=sys.intern(_uid(dataset, "SOPClassUID")),
        modality=sys.intern(text(dataset, "Modality")),
        series_number=number(dataset, "SeriesNumber"),
        instance_number=number(dataset, "InstanceNumber"),
        rows=int(number(dataset, "Rows")),
        columns=int(number(dataset, "Columns")),
        count=max(1, min(int(number(dataset, "NumberOfFrames")), max_frames)),
        size=size,
        tilt_degrees=number(dataset, "GantryDetectorTilt"),
        concatenation=shared(
            (
                _uid(dataset, "ConcatenationUID"),
                number(dataset, "InConcatenationNumber"),
                number(dataset, "InConcatenationTotalNumber"),
                number(dataset, "ConcatenationFrameOffsetNumber"),
            )
        ),
    )


@lru_cache(maxsize=10_000)
def shared(value: _T) -> _T:
    """Return an equal value that other records may have too, so that a million records fit in memory."""
    return value


def number(dataset: Dataset, keyword: str) -> float:
    """Return the first readable number of an element, 0 without one."""
    return first_number(dataset, keyword) or 0.0


def read_plane(
    position: Dataset, orientation: Dataset, measures: Dataset, *, space: str = "Patient"
) -> tuple[Vector | None, tuple[Vector, Vector] | None, tuple[float, float] | None]:
    """Return position, orientation and pixel spacing of an image, each None where it is missing or impossible.

    Args:
        position: The dataset with ImagePositionPatient.
        orientation: The dataset with ImageOrientationPatient.
        measures: The dataset with PixelSpacing.
        space: ``Patient``, or ``Volume`` for ultrasound, whose positions are relative to its volume.
    """
    place = _finite(position, f"ImagePosition{space}", 3)
    cosines = _finite(orientation, f"ImageOrientation{space}", 6)
    spacing = _finite(measures, "PixelSpacing", 2)
    directions = None if cosines is None else shared((cosines[:3], cosines[3:]))
    if directions is not None and not _is_rectangular(*directions):
        directions = None
    return (  # type: ignore[return-value]
        place if directions is not None else None,
        directions if place is not None else None,
        shared(spacing) if spacing is not None and min(spacing) > 0 else None,
    )


def read_phase(dataset: Dataset) -> Phase:
    """Return the phase of an image whose header has no functional groups."""
    echo = first_number(dataset, "EchoTime")
    b_value = next(
        filter(None, (numbers_at(dataset, tag) for tag in ("DiffusionBValue", _SIEMENS_B_VALUE, _GE_B_VALUE))), ()
    )
    cardiac = [first_number(dataset, name) for name in ("NominalPercentageOfCardiacPhase", "TriggerTime")]
    return Phase(
        temporal=(number(dataset, "TemporalPositionIdentifier"), number(dataset, "FrameReferenceTime")),
        echo=(number(dataset, "EchoNumbers") if echo is None else round(echo, 3),),
        b_value=b_value[:1],
        direction=tuple(round(value, 4) for value in numbers_at(dataset, "DiffusionGradientOrientation")),
        image_type=(*map(str.upper, texts(dataset, "ImageType")), text(dataset, "ComplexImageComponent")),
        cardiac=tuple(value or 0.0 for value in cardiac),
        acquisition=(number(dataset, "AcquisitionNumber"),),
    )


def numbers_at(dataset: Dataset, keyword: str | int) -> tuple[float, ...]:
    """Return the finite numbers of an element, also a private one."""
    return tuple(value for value in numbers(dataset, keyword) if math.isfinite(value))


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, None without one."""
    return next(iter(items(dataset, keyword)), None)


def _is_rectangular(row: tuple[float, ...], column: tuple[float, ...]) -> bool:
    lengths = math.hypot(*row), math.hypot(*column)
    return min(lengths) > 0.9 and abs(sum(a * b for a, b in zip(row, column, strict=True))) < 0.1


def _finite(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    values = numbers(dataset, keyword)
    return tuple(values) if len(values) == count and all(map(math.isfinite, values)) else None


def _text(dataset: Dataset, keyword: str) -> str:
    return next(iter(texts(dataset, keyword)), "")


def _uid(dataset: Dataset, keyword: str) -> str:
    return _text(dataset, keyword)[:_MAX_UID]
