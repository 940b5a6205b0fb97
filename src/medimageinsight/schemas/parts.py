"""One image of a file with several, where the vectors of images are pooled."""

from typing import Annotated

from pydantic import Field

from medimageinsight.schemas.base import ResponseModel
from medimageinsight.schemas.errors import ErrorDetail


class PartOfFile(ResponseModel):
    """An image of a file, or its error."""

    series: Annotated[int, Field(ge=0, description="Index of its series in the file.")]
    frame: Annotated[int, Field(ge=0, description="Index of the image in the series.")]
    position_mm: Annotated[float | None, Field(description="Along the normal of the slices.")] = None
    error: ErrorDetail | None = None
