"""The series and images of a file with several: what there is, and small images to scroll through."""

from typing import Annotated

from pydantic import Field

from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.errors import ErrorDetail
from medimageinsight.schemas.fields import Image, Model, Select, Window
from medimageinsight.schemas.view import ImageWarning

MAX_SHOWN_SIZE = 1024  # pixels


class StudyRequest(RequestModel):
    """A file with several images: multi-frame DICOM, NIfTI, NRRD, MetaImage, TIFF, ZIP or TAR of a study."""

    model: Model = None
    image: Image
    window: Window = None
    select: Select = None
    size: Annotated[
        int, Field(ge=16, le=MAX_SHOWN_SIZE, description="The longer side of the images in the response, in pixels.")
    ] = 256


class ShownImage(ResponseModel):
    """An image of a series, or its error."""

    frame: Annotated[int, Field(ge=0, description="Index of the image in the series.")]
    position_mm: Annotated[float | None, Field(description="Along the normal of the slices.")] = None
    time_ms: Annotated[float | None, Field(description="In a loop: since its first image.")] = None
    image: Annotated[str | None, Field(description="A PNG as a data: URI.")] = None
    error: ErrorDetail | None = None


class ShownSeries(ResponseModel):
    """A series, with the images that were chosen."""

    kind: Annotated[str, Field(description="image, frames, loop, slices, volume or slide.")]
    modality: Annotated[str | None, Field(description="The DICOM modality, such as CT.")] = None
    count: Annotated[int, Field(ge=1, description="All images of the series.")]
    images: list[ShownImage]
    warnings: Annotated[
        list[ImageWarning] | None, Field(description="Defects that did not prevent its use, such as missing slices.")
    ] = None


class StudyResponse(ResponseModel):
    """The series of a file."""

    series: list[ShownSeries]
    failed: Annotated[int, Field(ge=0, description="Files of an archive that cannot be used.")] = 0
