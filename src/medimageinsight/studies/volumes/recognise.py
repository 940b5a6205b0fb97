"""Recognise files of volumes by their first bytes."""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias

from medimageinsight.studies.volumes import metaimage, nifti, nrrd

VolumeFormat: TypeAlias = Literal["nifti", "nrrd", "metaimage"]

# Of files that have only values, which a header in the same folder describes; many are no more than that.
_DATA_ENDINGS = (".img", ".raw", ".zraw", ".img.gz", ".raw.gz", ".raw.bz2")


def recognise_volume(beginning: bytes) -> VolumeFormat | None:
    """Return the format of a volume, None for other files; NIfTI may be compressed as a whole."""
    if metaimage.matches(beginning):
        return "metaimage"
    if nrrd.matches(beginning):
        return "nrrd"
    return "nifti" if nifti.matches(_inflate(beginning)) else None


def is_data_name(name: str) -> bool:
    """Return whether a file may have the values of a volume whose header is another file."""
    return name.lower().endswith(_DATA_ENDINGS)


def _inflate(beginning: bytes) -> bytes:
    if not beginning.startswith(b"\x1f\x8b"):
        return beginning
    try:
        return zlib.decompressobj(wbits=31).decompress(beginning, 1024)
    except zlib.error:
        return b""
