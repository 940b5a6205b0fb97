"""DICOM files grouped by study and series, and sorted by their position in space."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight import images
from medimageinsight.images import Limits, dicom
from medimageinsight.studies.origin import Origin
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.study_image import StudyImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from medimageinsight.images import DecodedImage, WindowSelection
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.warnings import OnFailure


@dataclass(frozen=True, kw_only=True)
class _Instance:
    """What is known of a file from its header."""

    file: StudyFile
    study: str
    series: str
    modality: str
    frames: int
    number: int
    position_mm: float | None


@dataclass
class DicomGroups:
    """The DICOM files of one source, by study and series."""

    source: str
    limits: Limits
    _instances: dict[str, dict[str, list[_Instance]]] = field(default_factory=dict)

    def add(self, file: StudyFile) -> None:
        """Read a file's header and remember where it belongs.

        Raises:
            InputError: The file cannot be read.
        """
        instance = _read_instance(file, dicom.read(file.read(self.limits), self.limits))
        self._instances.setdefault(instance.study, {}).setdefault(instance.series, []).append(instance)

    def studies(self, failed: OnFailure) -> Iterator[Study]:  # noqa: ARG002
        """Yield the studies of all files added so far."""
        for key, by_series in self._instances.items():
            series = tuple(_make_series(name, members, self.source) for name, members in by_series.items())
            yield Study(key=key, source=self.source, series=series)


def _read_instance(file: StudyFile, dataset: Dataset) -> _Instance:
    return _Instance(
        file=file,
        study=str(dataset.get("StudyInstanceUID") or file.name),
        series=str(dataset.get("SeriesInstanceUID") or file.name),
        modality=str(dataset.get("Modality") or ""),
        frames=images.count_frames(file.read(Limits())),
        number=_number(dataset),
        position_mm=_position(dataset),
    )


def _number(dataset: Dataset) -> int:
    try:
        return int(dataset.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0


def _position(dataset: Dataset) -> float | None:
    """Return the position along the slice normal in millimetres (PS3.3 C.7.6.2.1.1)."""
    try:
        orientation = np.asarray(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
        position = np.asarray(dataset.ImagePositionPatient, dtype=float).reshape(3)
    except (AttributeError, TypeError, ValueError):
        return None
    return float(np.cross(orientation[0], orientation[1]) @ position)


def _make_series(key: str, members: list[_Instance], source: str) -> Series:
    members = sorted(members, key=lambda item: (item.position_mm or 0.0, item.number, item.file.name))
    members_images = [
        StudyImage(
            origin=Origin(
                path=item.file.origin.path, member=item.file.origin.member, frame=index if item.frames > 1 else None
            ),
            read=partial(_decode, item.file, index),
            position_mm=item.position_mm,
        )
        for item in members
        for index in range(item.frames)
    ]
    return Series(kind="slices", images=members_images, key=key, source=source, modality=members[0].modality)


def _decode(file: StudyFile, frame: int, window: WindowSelection | None, limits: Limits) -> DecodedImage:
    return images.open(file.read(limits), frame=frame, window=window, limits=limits)
