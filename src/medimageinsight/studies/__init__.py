"""Read many images as one: series, volumes, multi-frame files, slides and archives.

from medimageinsight import MedImageInsight, studies

model = MedImageInsight.load()
for study in studies.read("archive/"):             # DICOM files grouped by study and series
    vector = model.embed_images(study)             # (D,): pooled over the selected images of all its series
    vectors = model.embed_images(study.series[0].images)    # (N, D): every image of a series
"""

from __future__ import annotations

from medimageinsight.studies.dicomweb import DicomWeb, DicomWebStudy
from medimageinsight.studies.dimse import ReceivedSeries, Receiver, ReceiverSettings
from medimageinsight.studies.files import FileCollection
from medimageinsight.studies.geometry import SliceGeometry
from medimageinsight.studies.opening import open_image
from medimageinsight.studies.origin import Origin, Plane, Region
from medimageinsight.studies.pooling import DEFAULT_POOLING, STATISTICS, Pooling, pool
from medimageinsight.studies.reading import read
from medimageinsight.studies.selection import Selection, default_selection, parse_selection
from medimageinsight.studies.series import Series, Study
from medimageinsight.studies.slides import (
    HeatMap,
    SlideInfo,
    SlideLevel,
    SlideOptions,
    SlideSource,
    describe_slide,
    read_region,
    read_thumbnail,
)
from medimageinsight.studies.study_image import Kind, StudyImage
from medimageinsight.studies.warnings import OnFailure, StudyWarning

__all__ = [
    "DEFAULT_POOLING",
    "STATISTICS",
    "DicomWeb",
    "DicomWebStudy",
    "FileCollection",
    "HeatMap",
    "Kind",
    "OnFailure",
    "Origin",
    "Plane",
    "Pooling",
    "ReceivedSeries",
    "Receiver",
    "ReceiverSettings",
    "Region",
    "Selection",
    "Series",
    "SliceGeometry",
    "SlideInfo",
    "SlideLevel",
    "SlideOptions",
    "SlideSource",
    "Study",
    "StudyImage",
    "StudyWarning",
    "default_selection",
    "describe_slide",
    "open_image",
    "parse_selection",
    "pool",
    "read",
    "read_region",
    "read_thumbnail",
]
