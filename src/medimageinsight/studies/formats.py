"""The formats of files that studies are read from, recognised by their first bytes, never by their name alone."""

from __future__ import annotations

from typing import Literal, TypeAlias

from medimageinsight.images import dicom
from medimageinsight.studies.archives.inflate import compression_of
from medimageinsight.studies.archives.tar_archive import is_tar
from medimageinsight.studies.archives.zip_archive import ZIP_MAGIC
from medimageinsight.studies.volumes import is_data_name, recognise_volume

Format: TypeAlias = Literal["dicom", "raster", "zip", "tar", "gzip", "nifti", "nrrd", "metaimage", "volume_data"]


def recognise(beginning: bytes, name: str) -> Format:
    """Return the format of a file from its first bytes.

    ``raster`` is any image that Pillow or tifffile may read; ``gzip`` is a file or archive that is compressed as a
    whole, also with bzip2 or xz, if the reader of its format does not decompress it itself.
    """
    if dicom.is_dicom(beginning):
        return "dicom"
    if (volume := recognise_volume(beginning)) is not None:
        return volume
    if is_data_name(name):
        return "volume_data"
    if beginning.startswith(ZIP_MAGIC):
        return "zip"
    if is_tar(beginning):
        return "tar"
    return "gzip" if compression_of(beginning) is not None else "raster"
