"""Errors as JSON: the form of this project, of OpenAI and of the Open Inference Protocol."""

from typing import Annotated, TypeAlias

from pydantic import Field

from medimageinsight.errors import MedImageInsightError
from medimageinsight.schemas.base import ResponseModel, documented

Code: TypeAlias = Annotated[
    str, Field(description="Stable identifier, lower snake case."), documented(pattern="^[a-z][a-z0-9_]*$")
]
Message: TypeAlias = Annotated[str, Field(description="What was expected, what came, what to do.")]


class ErrorDetail(ResponseModel):
    """Why something could not be done."""

    code: Code
    message: Message

    @classmethod
    def of(cls, error: MedImageInsightError) -> "ErrorDetail":
        """Return the code and the message of an error."""
        return cls(code=error.code, message=error.message)


class ErrorResponse(ResponseModel):
    """The body of a failed request, or the result of an image that cannot be used."""

    error: ErrorDetail

    @classmethod
    def of(cls, error: MedImageInsightError) -> "ErrorResponse":
        """Return an error in its JSON form."""
        return cls(error=ErrorDetail.of(error))


class OpenAIErrorDetail(ResponseModel):
    """An error in OpenAI's form."""

    message: Message
    type: str
    param: str | None
    code: Code


class OpenAIErrorResponse(ResponseModel):
    """The body of a failed request to OpenAI's routes."""

    error: OpenAIErrorDetail


class InferErrorResponse(ResponseModel):
    """The body of a failed request to the Open Inference Protocol's routes."""

    error: Annotated[str, Field(description="`code: message`.")]
