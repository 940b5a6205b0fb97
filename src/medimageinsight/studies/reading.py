"""Read studies from files, folders and archives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, get_args

from medimageinsight.errors import ImageError, InputError
from medimageinsight.images import Limits
from medimageinsight.studies.datasets import find_datasets
from medimageinsight.studies.dicom_groups import DicomGroups
from medimageinsight.studies.files import BEGINNING, FileCollection, StudyFile
from medimageinsight.studies.formats import Format, recognise
from medimageinsight.studies.listing import StudySource, list_files, source_name
from medimageinsight.studies.origin import Plane
from medimageinsight.studies.pooling import DEFAULT_POOLING
from medimageinsight.studies.raster_pages import read_raster
from medimageinsight.studies.selection import parse_selection
from medimageinsight.studies.slides import SlideOptions, is_slide, read_slide
from medimageinsight.studies.volumes import plane_not_applicable, read_volume, reformat_series
from medimageinsight.studies.windowing import parse_windows, with_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from medimageinsight.images import WindowLike
    from medimageinsight.studies.pooling import Pooling
    from medimageinsight.studies.series import Series, Study
    from medimageinsight.studies.warnings import OnFailure


def read(
    sources: StudySource | Iterable[StudySource],
    *,
    select: str | None = None,
    pooling: Pooling = DEFAULT_POOLING,
    plane: Plane | None = None,
    windows: Sequence[WindowLike] | None = None,
    window_channels: bool = False,
    slides: SlideOptions = SlideOptions(),  # noqa: B008 - frozen
    failed: OnFailure | None = None,
    others: Callable[[str], None] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Iterator[Study]:
    """Yield the studies of files and folders.

        for study in studies.read("archive/", select="even:16"):
            for series in study.series:
                series.images, series.warnings

    The DICOM files of one source are grouped by study and series, whatever their names and folders, and sorted by their
    position; every other file is a study of its own. What was left out or looks wrong is in `Study.warnings`,
    `Series.warnings` and, for damaged files of a study, in `Study.failed`.

    Args:
        sources: Files, folders, archives, the bytes of files, a ``pydicom.Dataset`` or a list of them (which is one
            source), or studies on a DICOMweb server (`DicomWeb.search`).
        select: Which images of a series are used, see `parse_selection`; by default as `default_selection`.
        pooling: How the vectors of images become one, see `pool`.
        plane: Volumes and parallel slices are resampled to the slices of this plane, with square pixels; by default the
            slices as they were acquired.
        windows: Each image is used once for each of these windows, as `images.parse_window` reads them, whatever the
            window of the call that embeds it; by default in one window.
        window_channels: Whether three `windows` are the channels of one image instead.
        slides: The resolution, size and tissue of the tiles of slides.
        failed: Called for each file that cannot be used; by default the first one ends the call.
        others: Called with the name of each file of a folder or archive that is no image and is left out.
        limits: Bounds on the size of files.

    Raises:
        InputError: A source cannot be read, without `failed`; or an argument is invalid.
    """
    selection = None if select is None else parse_selection(select)
    if plane is not None and plane not in get_args(Plane):
        raise InputError(f"expected the plane to be {', '.join(get_args(Plane))}, got another", code="plane_unknown")
    displayed = None if windows is None else parse_windows(windows, channels=window_channels)
    single = find_datasets(sources) or sources
    listed = [single] if isinstance(single, str | os.PathLike | bytes | FileCollection) else single
    chosen = (find_datasets(source) or source for source in listed)
    failing = failed or _raise
    studies = (
        study
        for source in chosen
        for study in _read_source(
            list_files(source, limits, failing, others),
            _Reader(DicomGroups(source_name(source), limits, slides), plane, slides, limits),
            failing,
        )
    )
    if displayed is not None:
        studies = (with_windows(study, displayed, channels=window_channels) for study in studies)
    return (study.with_options(selection=selection, pooling=pooling) for study in studies)


def _raise(name: str, error: InputError) -> None:
    error.add_note(name)
    raise error


def _read_source(files: Iterator[StudyFile], reader: _Reader, failed: OnFailure) -> Iterator[Study]:
    for file in chain(files, reader.unclaimed()):
        try:
            study = reader.read(file)
        except OSError as error:
            unreadable = f"expected a readable file, got a failure to open it ({type(error).__name__})"
            failed(file.name, ImageError(f"{unreadable}: check its path and permissions", code="image_unreadable"))
        except InputError as error:
            failed(file.name, error)
        else:
            if study is not None:
                yield study
    for study in reader.groups.studies(failed):
        if reader.plane is None:
            yield study
        elif series := tuple(_reformat(study, reader.plane, reader.limits, failed)):
            yield replace(study, series=series)


@dataclass
class _Reader:
    """Reads the files of one source by their formats."""

    groups: DicomGroups
    plane: Plane | None
    slides: SlideOptions
    limits: Limits
    _data_files: dict[str, StudyFile] = field(default_factory=dict)  # of volumes, by their names
    _claimed: set[str] = field(default_factory=set)  # names of those whose header was read

    def read(self, file: StudyFile) -> Study | None:
        """Return the study of a file; None for one that belongs to others."""
        file_format = "dicom" if file.header(self.limits) is not None else _recognise(file)
        match file_format:
            case "dicom":
                self.groups.add(file)
            case "nifti" | "nrrd" | "metaimage":
                return read_volume(file, file_format, self.limits, plane=self.plane, uses=self._claimed.add)
            case "volume_data" if file.name not in self._data_files:
                self._data_files[file.name] = file
            case _:
                if self.plane is not None:
                    raise plane_not_applicable("an image without a position in space")
                return read_slide(file, self.slides, self.limits) if is_slide(file) else read_raster(file, self.limits)
        return None

    def unclaimed(self) -> Iterator[StudyFile]:
        """Yield the data files that no header names, once all others are read."""
        yield from [file for name, file in self._data_files.items() if name not in self._claimed]


def _reformat(study: Study, plane: Plane, limits: Limits, failed: OnFailure) -> Iterator[Series]:
    for series in study.series:
        try:
            yield reformat_series(series, plane, limits)
        except InputError as error:
            failed(series.source, error)


def _recognise(file: StudyFile) -> Format:
    with file.open() as opened:
        return recognise(opened.read(BEGINNING), file.name)
