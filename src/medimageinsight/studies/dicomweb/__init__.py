"""Studies on DICOMweb servers that the user named."""

from __future__ import annotations

from medimageinsight.studies.dicomweb.errors import not_named
from medimageinsight.studies.dicomweb.server import DicomWeb
from medimageinsight.studies.dicomweb.study import DicomWebStudy, InstanceFile
from medimageinsight.studies.dicomweb.token import read_token

__all__ = ["DicomWeb", "DicomWebStudy", "InstanceFile", "not_named", "read_token"]
