"""Whole slide images: tiles with tissue as the images of a series, regions for viewers, heat maps."""

from __future__ import annotations

from medimageinsight.studies.slides.heat_map import HeatMap
from medimageinsight.studies.slides.opening import is_slide
from medimageinsight.studies.slides.options import SlideOptions
from medimageinsight.studies.slides.pyramid import SlideLevel
from medimageinsight.studies.slides.reading import read_dicom_slide, read_slide
from medimageinsight.studies.slides.views import (
    SlideInfo,
    SlideSource,
    describe_slide,
    open_tile,
    read_region,
    read_thumbnail,
)

__all__ = [
    "HeatMap",
    "SlideInfo",
    "SlideLevel",
    "SlideOptions",
    "SlideSource",
    "describe_slide",
    "is_slide",
    "open_tile",
    "read_dicom_slide",
    "read_region",
    "read_slide",
    "read_thumbnail",
]
