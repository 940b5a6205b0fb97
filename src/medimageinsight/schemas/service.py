"""What the server reports about itself: models, stores, taggers, health and versions."""

from typing import Annotated, Literal

from pydantic import Field

from medimageinsight.schemas.base import ResponseModel
from medimageinsight.schemas.fields import ModelName
from medimageinsight.search.records import ColumnType


class ModelAbout(ResponseModel):
    """A model of the server."""

    name: str
    embedding_dim: int


class StoreAbout(ResponseModel):
    """A store of the server."""

    name: str
    model: str
    count: int
    columns: dict[str, ColumnType]
    shows_images: Annotated[
        bool, Field(alias="pictures", description="Whether the server shows stored images from its folders.")
    ]


class TaggerAbout(ResponseModel):
    """A tagger of the server."""

    name: str
    tags: list[str]


class VocabulariesAbout(ResponseModel):
    """The terms of each vocabulary that the first model knows."""

    modality: list[str]
    anatomy: list[str]
    view: list[str]


class About(ResponseModel):
    """The models, stores, taggers and vocabularies of the server."""

    version: str
    disclaimer: str
    models: list[ModelAbout]
    windows: Annotated[list[str], Field(description="Presets of `window`, in Hounsfield units.")]
    vocabularies: VocabulariesAbout
    stores: list[StoreAbout]
    taggers: list[TaggerAbout]


class Live(ResponseModel):
    """The process answers."""

    status: Literal["live"] = "live"
    live: Literal[True] = True


class Ready(ResponseModel):
    """Embeddings can be made."""

    status: Literal["ready"] = "ready"
    ready: Literal[True] = True


class ModelReady(Ready):
    """Embeddings can be made with a model."""

    name: ModelName


class NotReady(ResponseModel):
    """Embeddings cannot be made."""

    status: Annotated[str, Field(description="Why.")]
    ready: Literal[False] = False


class Version(ResponseModel):
    """The versions of the server and the names of its models."""

    version: str
    models: list[ModelName]
