"""Embeddings of uploaded files."""

from typing import Annotated

from pydantic import Field

from medimageinsight.preprocess import Steps
from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.fields import Frame, Model, ModelName, Vector, Window


class EmbedParams(RequestModel):
    """Parameters of an upload, in the query or as fields of a form."""

    model: Model = None
    frame: Frame = 0
    window: Window = None
    preprocessing: Annotated[
        Steps | None, Field(description="As the original code, or as the hosted endpoint; default: the server's.")
    ] = None


class EmbedResult(ResponseModel):
    """The embedding of one file or text."""

    embedding: Vector


class EmbedResponse(ResponseModel):
    """One result for each file and each text, in order."""

    model: ModelName
    results: Annotated[list[EmbedResult | ErrorResponse], ROWS]
