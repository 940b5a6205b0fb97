"""The stored images nearest to an image, a text, a stored image or a vector."""

from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from medimageinsight.errors import RequestError
from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.fields import Frame, Image, K, Model, Name, PoolingName, Select, Store, Text, Where, Window
from medimageinsight.schemas.tools import (
    FileName,
    ImageFile,
    ThumbnailPosition,
    ToolK,
    ToolStore,
    ToolText,
    ToolWhere,
    WithThumbnails,
)
from medimageinsight.search import Hit as StoredHit
from medimageinsight.search.records import Value

_ID = "The id of a stored image; it is found too."
_MIN_SCORE = "The smallest cosine similarity."
_EXCLUDE_SAME = "With id alone: leave out images with its value in this column, as PatientID."
_EXCLUDE_SAME_NEEDS_ID: JsonDict = {
    "anyOf": [
        {"properties": {"other_than_same": {"type": "null"}}},
        {"required": ["id"], "properties": {"id": {"type": "string"}}},
    ]
}


class SearchRequest(RequestModel):
    """One thing to search for, and a store."""

    model_config = ConfigDict(json_schema_extra=_EXCLUDE_SAME_NEEDS_ID)
    exactly_one: ClassVar[tuple[str, ...]] = ("image", "text", "id", "vector")

    store: Store
    image: Image | None = None
    text: Text | None = None
    id: Annotated[Name | None, Field(description=_ID)] = None
    vector: Annotated[Annotated[list[float], Field(min_length=1)] | None, Field(description="An embedding.")] = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    k: K = 10
    where: Where = None
    min_score: Annotated[float | None, Field(description=_MIN_SCORE)] = None
    exact: Annotated[bool, Field(description="Compare with every vector, without the index.")] = False
    exclude_same: Annotated[Name | None, Field(alias="other_than_same", description=_EXCLUDE_SAME)] = None
    model: Model = None

    @model_validator(mode="after")
    def _check_exclude_same(self) -> Self:
        if self.exclude_same is not None and self.id is None:
            raise RequestError(
                "expected 'other_than_same' with 'id' alone, got it with another query, which has no metadata"
            )
        return self


Metadata: TypeAlias = dict[str, Value]


class Hit(ResponseModel):
    """One stored image."""

    id: str
    path: Annotated[str, Field(description="Path of the image, as it was given when it was stored.")]
    score: Annotated[float, Field(description="Cosine similarity, -1 to 1.")]
    metadata: Annotated[Metadata, Field(description="Column to value.")]

    @classmethod
    def of(cls, hit: StoredHit) -> "Hit":
        """Return a store's result in its JSON form."""
        return cls(id=hit.id, path=hit.path, score=hit.score, metadata=hit.metadata)


class SearchResponse(ResponseModel):
    """The nearest stored images, best first."""

    hits: list[Hit]


class SearchArguments(RequestModel):
    """One thing to search for, and a store."""

    image: ImageFile = None
    text: ToolText = None
    id: Annotated[FileName | None, Field(description=_ID)] = None
    store: ToolStore = None
    k: ToolK = 10
    where: ToolWhere = None
    min_score: Annotated[Annotated[float, Field(ge=-1, le=1)] | None, Field(description=_MIN_SCORE)] = None
    exclude_same: Annotated[FileName | None, Field(alias="other_than_same", description=_EXCLUDE_SAME)] = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    thumbnails: WithThumbnails = False


class FoundImage(Hit):
    """One stored image and its thumbnail."""

    thumbnail: ThumbnailPosition = None


class FoundImages(ResponseModel):
    """The nearest stored images, best first."""

    store: str
    hits: list[FoundImage]
