"""Cosine similarities of images and texts."""

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Field

from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel
from medimageinsight.schemas.fields import Frame, Image, Model, ModelName, PoolingName, Select, Text, Window
from medimageinsight.schemas.tools import MAX_ITEMS, ImageFile, ToolText


class CompareItem(RequestModel):
    """An image or a text."""

    exactly_one: ClassVar[tuple[str, ...]] = ("image", "text")

    image: Image | None = None
    text: Text | None = None
    frame: Frame = 0
    window: Window = None


_Items: TypeAlias = Annotated[list[CompareItem], Field(min_length=1), ROWS]


class CompareRequest(RequestModel):
    """Rows and columns of the answer's matrix."""

    model: Model = None
    a: Annotated[_Items, Field(description="Rows.")]
    b: Annotated[_Items | None, Field(description="Columns; without them every row is compared with every row.")] = None


Similarity: TypeAlias = Annotated[
    list[list[float]], Field(description="similarity[row][column], -1 to 1; no percentage, no diagnosis.")
]


class CompareResponse(ResponseModel):
    """The cosine similarity of each row with each column."""

    model: ModelName
    similarity: Similarity


class CompareFile(RequestModel):
    """``{"image": path}`` or ``{"text": text}``."""

    exactly_one: ClassVar[tuple[str, ...]] = ("image", "text")

    image: ImageFile = None
    text: ToolText = None

    @property
    def value(self) -> str:
        """The path or the text."""
        return self.image or self.text or ""


_Files: TypeAlias = Annotated[list[CompareFile], Field(min_length=1, max_length=MAX_ITEMS)]


class CompareArguments(RequestModel):
    """Rows and columns of the answer's matrix."""

    a: Annotated[_Files, Field(description='Rows: each {"image": path} or {"text": text}.')]
    b: Annotated[
        _Files | None,
        Field(description="Columns, of the same form; without them every row is compared with every row."),
    ] = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None


class ComparedItems(ResponseModel):
    """The cosine similarity of each row with each column."""

    rows: list[str]
    columns: list[str]
    similarity: Similarity
