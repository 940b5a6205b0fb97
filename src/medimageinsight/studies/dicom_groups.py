"""DICOM files grouped by study and series, from their headers."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.dicom_build import localizers_excluded, make_series
from medimageinsight.studies.dicom_frames import add_frames
from medimageinsight.studies.dicom_record import DIRECTORY, KEYWORDS, SLIDE, DicomFile, read_record
from medimageinsight.studies.files import DatasetFile
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.slides import SlideOptions, read_dicom_slide
from medimageinsight.studies.warnings import StudyWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.images import Limits
    from medimageinsight.images.dicom import Header
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.warnings import OnFailure

_OTHER_OBJECTS = ("image_no_pixels", "image_is_map")  # codes of files that belong to a study, but are no images


@dataclass
class _Group:
    """The files of one study UID."""

    files: list[DicomFile] = field(default_factory=list)
    failed: dict[str, InputError] = field(default_factory=dict)
    others: dict[str, list[tuple[str, ImageError]]] = field(default_factory=dict)  # objects by kind: names and errors


@dataclass
class DicomGroups:
    """The DICOM files of one source, by study and series; of each, only a small record is in memory."""

    source: str
    limits: Limits
    slides: SlideOptions = SlideOptions()  # noqa: RUF009 - frozen
    _groups: dict[str, _Group] = field(default_factory=dict)
    _unreadable: list[tuple[str, ImageError]] = field(default_factory=list)
    _studies_in: dict[str, set[str]] = field(default_factory=dict)  # by folder

    def add(self, file: StudyFile) -> None:
        """Read a file's header and remember where it belongs; a damaged file becomes an error of its study.

        Raises:
            InputError: The file cannot be opened.
            OSError: Likewise.
        """
        try:
            with suppress_decoder_warnings():
                header, size = self._read_header(file)
                record = _record(file, header, size, self.limits)
        except ImageError as error:
            self._unreadable.append((file.name, error))
            return
        if record.sop_class == DIRECTORY:
            return
        key = record.study or (f"series {record.series}" if record.series else f"file {file.name}")
        group = self._groups.setdefault(key, _Group())
        self._studies_in.setdefault(_folder(file.name), set()).add(key)
        try:
            with suppress_decoder_warnings():
                header.check_image(self.limits)
                _add_frames(record, header)
        except ImageError as error:
            if error.code in _OTHER_OBJECTS:
                group.others.setdefault(dicom.kind_of(header.dataset), []).append((file.name, error))
            else:
                group.failed[file.name] = error
        else:
            group.files.append(record)

    def studies(self, failed: OnFailure) -> Iterator[Study]:
        """Yield the studies of all files added so far, and forget them; `failed` is called for files without one."""
        for name, error in self._unreadable:
            studies = self._studies_in.get(_folder(name), set())
            if len(studies) == 1:
                self._groups[next(iter(studies))].failed[name] = error
            else:
                failed(name, error)
        self._unreadable.clear()
        self._studies_in.clear()
        while self._groups:
            key = next(iter(self._groups))
            yield from self._make_studies(key, self._groups.pop(key), failed)

    def _read_header(self, file: StudyFile) -> tuple[Header, int]:
        known = file.header(self.limits)
        if known is not None:
            return dicom.header_of(known, from_server=not isinstance(file, DatasetFile)), 0
        with file.open() as opened:
            header = dicom.read_header(opened, self.limits, KEYWORDS)
            return header, opened.seek(0, os.SEEK_END)

    def _make_studies(self, key: str, group: _Group, failed: OnFailure) -> Iterator[Study]:
        patients = _by_patient(group.files)
        if not patients:
            for name, error in (*group.failed.items(), *(files[0] for files in group.others.values())):
                failed(name, error)
            return
        for number, files in enumerate(patients):
            warnings = _other_objects(group) if number == 0 else []
            if len(patients) > 1:
                message = f"{len(patients)} patient IDs have one study UID: each has a study of its own"
                warnings.append(StudyWarning("study_of_several_patients", message))
            study = self._make_study(
                key if len(patients) == 1 else f"{key}/{number + 1}",
                files,
                failed=group.failed if number == 0 else {},
                warnings=warnings,
            )
            if study.series:
                yield study
            else:  # slides that cannot be read
                for name, error in study.failed.items():
                    failed(name, error)

    def _make_study(
        self, key: str, files: list[DicomFile], *, failed: dict[str, InputError], warnings: list[StudyWarning]
    ) -> Study:
        files, defects = _without_copies(files)
        if not all(file.study and file.series for file in files):
            defects.append(StudyWarning("uid_missing", "files without study or series UID: grouped by what they have"))
        by_series = defaultdict(list)
        for file in files:
            by_series[file.series or (file.series_number, file.modality)].append(file)
        scouts = [members for members in by_series.values() if all(map(_is_localizer, members))]
        scouts = scouts if len(scouts) < len(by_series) else []
        warnings += localizers_excluded(sum(map(len, scouts)))
        series: list[Series] = []
        for members in sorted((members for members in by_series.values() if members not in scouts), key=_series_order):
            members.sort(key=lambda file: (file.instance_number, file.instance))
            name = members[0].series or f"{key} series {members[0].series_number:g} {members[0].modality}"
            if members[0].sop_class == SLIDE:
                try:
                    series.append(self._make_slide(members, name, defects))
                except ImageError as error:
                    failed[members[0].file.name] = error
                continue
            series += make_series(members, key=name, source=self.source, limits=self.limits, warnings=defects)
        return Study(key=key, source=self.source, series=tuple(series), failed=failed, warnings=tuple(warnings))

    def _make_slide(self, members: list[DicomFile], key: str, defects: list[StudyWarning]) -> Series:
        files = [member.file for member in members]
        series = read_dicom_slide(files, key=key, source=self.source, options=self.slides, limits=self.limits)
        return replace(series, warnings=(*defects, *series.warnings))


def _record(file: StudyFile, header: Header, size: int, limits: Limits) -> DicomFile:
    try:
        return read_record(file, header.dataset, size=size, max_frames=limits.max_frames)
    except (ImageError, MemoryError):
        raise
    except Exception:  # pydicom converts on access and raises anything for a malformed value
        raise _unreadable_header() from None


def _add_frames(record: DicomFile, header: Header) -> None:
    try:
        add_frames(record, header.dataset)
    except (ImageError, MemoryError):
        raise
    except Exception:  # as above
        raise _unreadable_header() from None


def _unreadable_header() -> ImageError:
    return ImageError(
        "expected a DICOM file with a header that can be read, got one with malformed values: export it again",
        code="image_bad_header",
    )


def _folder(name: str) -> str:
    return name.rpartition("/")[0] or os.path.dirname(name)  # noqa: PTH120 - also of a member of an archive


def _by_patient(files: list[DicomFile]) -> list[list[DicomFile]]:
    """Return the files of each patient ID; files without one belong to the only patient, if there is one."""
    by_patient = defaultdict(list)
    for file in files:
        by_patient[file.patient].append(file)
    if len([patient for patient in by_patient if patient]) <= 1:
        return [files] if files else []
    return [by_patient[patient] for patient in sorted(by_patient)]


def _other_objects(group: _Group) -> list[StudyWarning]:
    return [
        StudyWarning("not_an_image", f"files left out, as they are no images of the patient: {len(files)} of {kind}")
        for kind, files in sorted(group.others.items())
    ]


def _is_localizer(file: DicomFile) -> bool:
    return all(frame.is_localizer for frame in file.frames)


def _series_order(members: list[DicomFile]) -> tuple[float, str, float, str]:
    first = min(members, key=lambda file: (file.instance_number, file.instance))
    return first.series_number, first.series, first.instance_number, first.instance


def _without_copies(files: list[DicomFile]) -> tuple[list[DicomFile], list[StudyWarning]]:
    """Return the files without further copies of an instance, and warnings about them.

    Files that have an instance UID in common, but another position or number, are different images of a careless
    writer: they remain.
    """
    by_instance = defaultdict(list)
    for file in files:
        by_instance[file.instance].append(file)
    if len(by_instance) == len(files):
        return files, []
    used: list[DicomFile] = []
    shared = 0
    for instance, members in by_instance.items():
        different = {_identity(file): file for file in sorted(members, key=lambda file: file.size)}  # the largest
        shared += bool(instance) and len(different) > 1
        used += different.values() if instance else members
    warnings = []
    if copies := len(files) - len(used):
        warnings.append(StudyWarning("instances_repeated", f"further copies of images, which were left out: {copies}"))
    if shared:
        message = f"instance UIDs of several different images, which were all used: {shared}"
        warnings.append(StudyWarning("instance_uids_shared", message))
    return used, warnings


def _identity(file: DicomFile) -> tuple[object, ...]:
    frame = file.frames[0]
    series = file.series, file.series_number, file.instance_number
    return *series, file.rows, file.columns, file.count, frame.position, frame.orientation, frame.phase.sort_key()
