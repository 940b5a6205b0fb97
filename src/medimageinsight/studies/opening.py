"""Open one image again from its origin, such as that of a search hit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.images import Limits
from medimageinsight.studies import archives
from medimageinsight.studies.dicom_images import dicom_image
from medimageinsight.studies.files import BEGINNING, LocalFile
from medimageinsight.studies.formats import recognise
from medimageinsight.studies.origin import Origin
from medimageinsight.studies.raster_pages import raster_image

if TYPE_CHECKING:
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.study_image import StudyImage


def open_image(origin: Origin | str, *, limits: Limits = Limits()) -> StudyImage:  # noqa: B008 - frozen
    """Return the image of an origin, as `read` made it; it is decoded when it is needed.

        studies.open_image("ct.dcm#frame=3")
        studies.open_image(study.series[0].images[5].origin)

    A caller that takes origins from others checks their paths first.

    Raises:
        ImageError: The file cannot be opened, or has no such image.
    """
    place = Origin.parse(origin) if isinstance(origin, str) else origin
    file = find_file(place, limits)
    try:
        with file.open() as opened:
            beginning = opened.read(BEGINNING)
    except OSError:
        raise ImageError(
            "expected the origin of an image, got one whose file cannot be opened: check that it is still there",
            code="image_not_found",
        ) from None
    if recognise(beginning, file.name) == "dicom":
        return dicom_image(file, place.frame or 0, count=1 if place.frame is None else 2)
    return raster_image(file, place.frame)


def find_file(origin: Origin, limits: Limits) -> StudyFile:
    """Return the file of an origin, without its frame.

    Raises:
        InputError: A member of an archive cannot be opened.
    """
    return archives.open_member(origin, limits) if origin.member else LocalFile(origin.path)
