"""The formats of files that studies are read from, recognised by their first bytes, never by their name alone."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal, TypeAlias

from medimageinsight.images import dicom, raster
from medimageinsight.studies.archives.inflate import compression_of
from medimageinsight.studies.archives.tar_archive import is_tar
from medimageinsight.studies.archives.zip_archive import ZIP_MAGIC
from medimageinsight.studies.volumes import is_data_name, recognise_volume

# A file with such a name is an image, even if it is damaged.
IMAGE_SUFFIXES = (
    ".dcm", ".dicom", ".ima", ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif",
    ".webp", ".jp2", ".j2k", ".jpx", ".jls", ".jxl", ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm",
    ".nii", ".nrrd", ".nhdr", ".mha", ".mhd",
)  # fmt: skip

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


def may_be_image(beginning: bytes, name: str) -> bool:
    """Return whether a file of the format ``raster`` is an image by its name or by its first bytes."""
    suffix = PurePath(name).suffix.lower()
    return suffix in IMAGE_SUFFIXES or not (beginning or suffix) or raster.is_image(beginning)
