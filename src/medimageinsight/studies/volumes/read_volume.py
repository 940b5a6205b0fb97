"""The study of a file with a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.volumes import metaimage, nifti, nrrd
from medimageinsight.studies.volumes.geometry import acquired_plane
from medimageinsight.studies.volumes.planes import plane_slices
from medimageinsight.studies.volumes.volume import stored_slices

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.origin import Origin, Plane
    from medimageinsight.studies.study_image import StudyImage
    from medimageinsight.studies.volumes.recognise import VolumeFormat

_HEADERS = {"nifti": nifti.read_header, "nrrd": nrrd.read_header, "metaimage": metaimage.read_header}


def read_volume(
    file: StudyFile,
    file_format: VolumeFormat,
    limits: Limits,
    *,
    plane: Plane | None = None,
    uses: Callable[[str], object] = lambda _: None,
) -> Study:
    """Return the study of a file: one series, of the slices of its (first) volume.

    Args:
        file: The file, a header with its data or with a data file in the same folder.
        file_format: Its format.
        limits: Bounds on what the header states, checked before memory is allocated.
        plane: The plane to resample to; None is the slices as they are stored, in the plane of the acquisition.
        uses: Called with the name of the data file.

    Raises:
        ImageError: The file cannot be read; its code begins with ``volume_`` or ``image_``.
        MissingExtraError: A library of the extra ``volumes`` is not installed.
    """
    header = _HEADERS[file_format](file)
    uses(header.samples.file.name)
    header.check(limits)
    volume = header.volume()
    if plane is None:
        images = stored_slices(volume, acquired_plane(volume.affine, header.slice_axis), file.origin, limits)
    else:
        images = plane_slices(volume, plane, file.origin, limits)
    series = Series(kind="volume", images=images, key=file.name, source=file.name, warnings=header.warnings)
    return Study(key=file.name, source=file.name, series=(series,))


def open_slice(file: StudyFile, file_format: VolumeFormat, origin: Origin, limits: Limits) -> StudyImage:
    """Return one slice of a volume again, by the plane and frame of its origin.

    Raises:
        ImageError: ``image_frame_out_of_range``, or as `read_volume`.
    """
    images = read_volume(file, file_format, limits, plane=origin.plane or None).series[0].images
    index = origin.frame or 0
    if index >= len(images):
        raise ImageError(
            f"expected a slice from 0 to {len(images) - 1:,}, got {index:,}", code="image_frame_out_of_range"
        )
    return images[index]
