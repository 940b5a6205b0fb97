"""Example prompts in the form of the training captions, for tools."""

from typing import Annotated

from pydantic import Field

from medimageinsight.schemas.base import RequestModel, ResponseModel
from medimageinsight.schemas.tools import MAX_EXAMPLES


class LabelExamplesArguments(RequestModel):
    """Words to look for."""

    query: Annotated[
        str, Field(max_length=500, description="Words to look for, as 'pneumonia' or 'benign breast'.")
    ] = ""
    modality: Annotated[str, Field(max_length=100, description="Only this modality, as 'x-ray', 'CT', 'MRI'.")] = ""
    anatomy: Annotated[str, Field(max_length=100, description="Only this part of the body, as 'chest'.")] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_EXAMPLES, description="How many examples at most.")] = 20


class LabelExample(ResponseModel):
    """A prompt in the form of the training captions, and its parts as far as it has them."""

    prompt: str
    modality: str | None = None
    anatomy: str | None = None
    view: str | None = None
    finding: str | None = None


class LabelExamples(ResponseModel):
    """Examples, those with most words of the query first."""

    form: Annotated[str, Field(description="How prompts are built.")]
    matched: Annotated[
        bool, Field(description="False: nothing has a word of the query, these are examples of other things.")
    ]
    total: Annotated[int, Field(description="How many examples fit, shown or not.")]
    examples: list[LabelExample]
