"""Media with a DICOMDIR (PS3.10 8.6): which of their files are images, and which are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import dicom
from medimageinsight.images.decoder_warnings import suppress_decoder_warnings
from medimageinsight.studies.files import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.warnings import OnFailure

NAME = "DICOMDIR"
_SOP_CLASS = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
_MAX_RECORDS = 1_000_000


def is_dicomdir(file: StudyFile, name: str) -> bool:
    """Return whether a file is a DICOMDIR: by its name, which the standard prescribes, and its content."""
    if name.upper().partition(";")[0].rstrip(".") != NAME:  # ISO 9660 appends ";1", and some systems a dot
        return False
    try:
        with file.open() as opened:
            beginning = opened.read(BEGINNING)
    except (InputError, OSError):  # reported where it is read
        return False
    return dicom.is_dicom(beginning) and _SOP_CLASS in beginning


def list_referenced(dicomdir: StudyFile, limits: Limits) -> list[tuple[str, ...]]:
    """Return the file ids of the directory's records, each the names of its folders and of the file, in its order.

    Raises:
        InputError: ``dicomdir_damaged``, or as `StudyFile.read`.
    """
    try:
        with suppress_decoder_warnings():
            records = dicom.read(dicomdir.read(limits), limits).DirectoryRecordSequence
            ids = [_file_id(record) for _, record in zip(range(_MAX_RECORDS), records, strict=False)]
    except InputError:
        raise
    except Exception:  # pydicom converts on access and raises any error for a malformed value
        ids = []
    if not any(ids):
        raise InputError(
            "expected a DICOMDIR that lists files, got an empty or damaged one: name the folder or its files instead",
            code="dicomdir_damaged",
        )
    return list(dict.fromkeys(filter(None, ids)))


def choose_files(
    dicomdir: StudyFile,
    files: Mapping[tuple[str, ...], StudyFile],
    limits: Limits,
    failed: OnFailure,
    *,
    listed_only: bool,
) -> Iterator[StudyFile]:
    """Yield the files of a medium that are images: those of the directory, and DICOM files that it does not list.

    A file id is looked up among the given files and never joined to a path, so that it cannot lead elsewhere. Names
    match in any case, as on the media. `failed` is called for missing files and a damaged directory.

    Args:
        dicomdir: The directory.
        files: The files below its folder, by the names of their folders and their own.
        limits: Bounds on the size of files.
        failed: Called for each file that cannot be used.
        listed_only: Leave out the files that the directory does not list; else programs and texts only.
    """
    try:
        referenced = list_referenced(dicomdir, limits)
    except InputError as error:
        failed(dicomdir.name, error)
        referenced = []
    by_id = {_normal(names): file for names, file in files.items()}
    missing = 0
    for file_id in referenced:
        file = by_id.pop(_normal(file_id), None)
        if file is None:
            missing += 1
        else:
            yield file
    if missing:
        failed(
            dicomdir.name,
            ImageError(
                f"expected the {len(referenced):,} files that the DICOMDIR lists, got {missing:,} fewer: copy the "
                "whole medium",
                code="dicomdir_file_missing",
            ),
        )
    if not listed_only:
        yield from _only_dicom(by_id.values(), dicomdir, failed)


def _only_dicom(files: Iterable[StudyFile], dicomdir: StudyFile, failed: OnFailure) -> Iterator[StudyFile]:
    for file in files:
        if file.name == dicomdir.name:
            continue
        try:
            with file.open() as opened:
                beginning = opened.read(BEGINNING)
        except (InputError, OSError):
            failed(file.name, ImageError("expected a readable file, got a failure to open it", code="image_unreadable"))
            continue
        if dicom.is_dicom(beginning):
            yield file


def _file_id(record: Dataset) -> tuple[str, ...]:
    value = record.get("ReferencedFileID")
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(map(str, value))


def _normal(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip().upper().partition(";")[0].rstrip(".") for name in names)
