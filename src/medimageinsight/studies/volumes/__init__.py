"""Volumes of NIfTI, NRRD, MetaImage and DICOM files as ordered slices in the orientation that a radiologist expects.

`read_volume` makes the study of a file; `reformat_series` makes slices of an anatomical plane of DICOM slices. A format
has one module that reads its header; ``samples`` reads the values of all formats.
"""

from __future__ import annotations

from medimageinsight.studies.volumes.errors import plane_not_applicable
from medimageinsight.studies.volumes.read_volume import open_slice, read_volume
from medimageinsight.studies.volumes.recognise import VolumeFormat, is_data_name, recognise_volume
from medimageinsight.studies.volumes.reformat import reformat_series

__all__ = [
    "VolumeFormat",
    "is_data_name",
    "open_slice",
    "plane_not_applicable",
    "read_volume",
    "recognise_volume",
    "reformat_series",
]
