"""Render DICOM images as 8-bit images, as a viewer shows them first.

`read` parses a file, `decode` renders one frame as an image of mode L or RGB. The steps are in ``pixel_data`` (stored
values), ``grey_transforms`` (``modality``: rescale or modality LUT; ``windowing``: VOI LUTs and windows),
``monochrome`` (to 8 bits) and ``lookup_tables``.
"""

from __future__ import annotations

from medimageinsight.images.dicom.decode import decode, modality_values
from medimageinsight.images.dicom.grey_transforms import list_windows
from medimageinsight.images.dicom.header import Header, header_of, read_header
from medimageinsight.images.dicom.maps import kind_of
from medimageinsight.images.dicom.pixel_data import index_frames
from medimageinsight.images.dicom.read import is_dicom, read

__all__ = [
    "Header",
    "decode",
    "header_of",
    "index_frames",
    "is_dicom",
    "kind_of",
    "list_windows",
    "modality_values",
    "read",
    "read_header",
]
