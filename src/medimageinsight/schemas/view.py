"""An image as the model sees it."""

from typing import Annotated

from pydantic import Field

from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.errors import Code
from medimageinsight.schemas.fields import Frame, Image, Model, Window


class ViewRequest(RequestModel):
    """An image."""

    model: Model = None
    image: Image
    frame: Frame = 0
    window: Window = None


class ImageWarning(ResponseModel):
    """A defect of the file that did not prevent its use."""

    code: Code
    message: Annotated[str, Field(description="What was wrong, and what was used instead.")]


class ViewResponse(ResponseModel):
    """The image in the model's size, and its own."""

    image: Annotated[str, Field(alias="picture", description="A PNG as a data: URI.")]
    width: Annotated[int, Field(description="Of the image itself, in pixels.")]
    height: int
    frames: int
    model_size: Annotated[list[int], Field(min_length=2, max_length=2, description="Height and width.")]
    windows: Annotated[list[str] | None, Field(description="The file's own windows, by their index.")] = None
    warnings: Annotated[
        list[ImageWarning] | None, Field(description="Defects of the file that did not prevent its use.")
    ] = None
