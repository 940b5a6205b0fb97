"""Embeddings of uploaded files."""

from typing import Annotated

from pydantic import Field

from medimageinsight.preprocess import Steps
from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.fields import Frame, Model, ModelName, PoolingName, Select, Vector, Window
from medimageinsight.schemas.parts import PartOfFile


class EmbedParams(RequestModel):
    """Parameters of an upload, in the query or as fields of a form."""

    model: Model = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    preprocessing: Annotated[
        Steps | None, Field(description="As the original code, or as the hosted endpoint; default: the server's.")
    ] = None


class EmbeddedPart(PartOfFile):
    """The embedding of one image of a file."""

    embedding: Vector | None = None


class EmbedResult(ResponseModel):
    """The embedding of one file or text; with `select` the pooled embedding, and those of the images."""

    embedding: Vector
    images: Annotated[
        list[EmbeddedPart] | None, Field(description="With select: the images whose vectors were pooled, in order.")
    ] = None


class EmbedResponse(ResponseModel):
    """One result for each file and each text, in order."""

    model: ModelName
    results: Annotated[list[EmbedResult | ErrorResponse], ROWS]
