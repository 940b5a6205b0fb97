"""Open one image again from its origin, such as that of a search hit."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits
from medimageinsight.studies import archives
from medimageinsight.studies.dicom_images import dicom_image
from medimageinsight.studies.dicomweb import not_named
from medimageinsight.studies.files import BEGINNING, LocalFile
from medimageinsight.studies.formats import Format, recognise
from medimageinsight.studies.listing import list_files
from medimageinsight.studies.origin import Origin, Plane
from medimageinsight.studies.raster_pages import raster_image
from medimageinsight.studies.reading import read
from medimageinsight.studies.slides import open_tile
from medimageinsight.studies.volumes import open_slice
from medimageinsight.studies.windowing import with_window

if TYPE_CHECKING:
    from collections.abc import Hashable

    from medimageinsight.studies.dicomweb import DicomWeb
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.series import Study
    from medimageinsight.studies.study_image import StudyImage


def open_image(
    origin: Origin | str,
    *,
    dicomweb: DicomWeb | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> StudyImage:
    """Return the image of an origin, as `read` made it; it is decoded when it is needed.

        studies.open_image("ct.dcm#frame=3")
        studies.open_image(study.series[0].images[5].origin)

    A caller that takes origins from others checks their paths first. An origin with a URL needs the `dicomweb` server
    that it belongs to: nothing else is fetched from a network.

    Raises:
        ImageError: The file cannot be opened, or has no such image.
    """
    place = Origin.parse(origin) if isinstance(origin, str) else origin
    file = find_file(place, limits, dicomweb)
    try:
        with file.open() as opened:
            beginning = opened.read(BEGINNING)
    except OSError:
        raise ImageError(
            "expected the origin of an image, got one whose file cannot be opened: check that it is still there",
            code="image_not_found",
        ) from None
    file_format = recognise(beginning, file.name)
    if file_format == "gzip":
        file = archives.InflatedFile(file)
        file_format = recognise(file.beginning(), file.name)
    image = _open_frame(file, file_format, place, limits)
    return with_window(image, place.window) if place.window else image


def _open_frame(file: StudyFile, file_format: Format, place: Origin, limits: Limits) -> StudyImage:
    if place.region is not None:
        return open_tile(place)
    match file_format:
        case "nifti" | "nrrd" | "metaimage":
            return open_slice(file, file_format, place, limits)
        case "dicom" if place.plane:
            return _open_reformatted(replace(place, window=""), place.plane, limits)
        case "dicom":
            return dicom_image(file, place.frame or 0, count=1 if place.frame is None else 2)
        case _:
            return raster_image(file, place.frame)


def _open_reformatted(place: Origin, plane: Plane, limits: Limits) -> StudyImage:
    """Return a slice of DICOM slices that were resampled: their first file is that of the origin."""
    source = place.path if place.member else str(Path(place.path).parent)
    files = list_files(source, limits, lambda _, __: None)
    versions = (LocalFile(place.path).version, *((file.name, file.version) for file in files))
    with _reformatting:  # other slices of the series wait for its headers, and share its values
        studies = _reformatted(source, plane, limits, versions)
    for image in (image for study in studies for series in study.series for image in series.images):
        if replace(image.origin, path="") == replace(place, path="") and Path(image.origin.path) == Path(place.path):
            return replace(image, origin=place)
    raise ImageError(
        "expected the first file of a series next to its others, got one without: read the folder of the series",
        code="image_not_found",
    )


_reformatting = threading.Lock()


@lru_cache(maxsize=1)
def _reformatted(source: str, plane: Plane, limits: Limits, _versions: Hashable) -> list[Study]:
    return list(read(source, plane=plane, failed=lambda _, __: None, limits=limits))


def find_file(origin: Origin, limits: Limits, dicomweb: DicomWeb | None = None) -> StudyFile:
    """Return the file of an origin, without its frame.

    Raises:
        InputError: A member of an archive cannot be opened, or the path is a URL of another server than `dicomweb`.
    """
    if origin.path[:8].lower().startswith(("http://", "https://")):
        if dicomweb is None:
            raise not_named()
        return dicomweb.open_instance(origin.path)
    return archives.open_member(origin, limits) if origin.member else LocalFile(origin.path)
