"""The formats of files that studies are read from, recognised by their first bytes, never by their name alone."""

from __future__ import annotations

from typing import Literal, TypeAlias

from medimageinsight.images import dicom

Format: TypeAlias = Literal["dicom", "raster"]


def recognise(beginning: bytes, name: str) -> Format:  # noqa: ARG001 - headerless formats need the name
    """Return the format of a file from its first bytes; ``raster`` is any image that Pillow or tifffile may read."""
    if dicom.is_dicom(beginning):
        return "dicom"
    return "raster"
