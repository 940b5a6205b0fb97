"""The Open Inference Protocol, version 2: the tensors ``image`` and ``text``, and their embeddings."""

import math
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SkipValidation, model_validator

from medimageinsight.errors import RequestError
from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel, documented
from medimageinsight.schemas.fields import ModelName, Numbers
from medimageinsight.schemas.scoring import ScoreParams

InputName: TypeAlias = Literal["image", "text"]
OutputName: TypeAlias = Literal["image_embeddings", "text_embeddings"]


def _once(names: object) -> Any:  # noqa: ANN401 - a field's constraints
    """Return the constraint that each name is in a list of named objects at most once."""
    named = [{"properties": {"name": {"const": name}}, "required": ["name"]} for name in get_args(names)]
    return documented(maxItems=2, allOf=[{"contains": name, "minContains": 0, "maxContains": 1} for name in named])


_Element: TypeAlias = Annotated[str, Field(min_length=1)]
_Shape: TypeAlias = Annotated[
    list[Annotated[int, Field(ge=0)]],
    Field(min_length=1, max_length=2, description="[N] or [N, 1]."),
    documented(prefixItems=[{"type": "integer", "minimum": 0}, {"const": 1}], items=False),
]


class InputTensor(RequestModel, extra="ignore"):
    """Images in base64 or as data: URIs, or texts."""

    name: InputName
    datatype: Literal["BYTES"]
    shape: _Shape
    data: Annotated[list[_Element | Annotated[list[_Element], Field(min_length=1, max_length=1)]], ROWS]

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.shape[1:] not in ([], [1]):
            raise RequestError(f"expected 'shape' to be [N] or [N, 1], got {self.shape[1]} instead of 1")
        if math.prod(self.shape) != len(self.data):
            raise RequestError(
                f"expected as many elements in 'data' as 'shape' states, {math.prod(self.shape)}, got {len(self.data)}"
            )
        return self

    @property
    def output_name(self) -> OutputName:
        """The name of the tensor of embeddings."""
        return "image_embeddings" if self.name == "image" else "text_embeddings"

    @property
    def cells(self) -> list[str]:
        """The elements, each without its list."""
        return [element if isinstance(element, str) else element[0] for element in self.data]


class RequestedOutput(RequestModel, extra="ignore"):
    """A tensor to return."""

    name: OutputName


class InferRequest(RequestModel, extra="ignore"):
    """One tensor of images, one of texts or both."""

    id: str | None = None
    parameters: SkipValidation[ScoreParams | None] = None  # the JSON value: its own parser has another error code
    inputs: Annotated[list[InputTensor], Field(min_length=1), _once(InputName)]
    outputs: Annotated[
        Annotated[list[RequestedOutput], Field(min_length=1), _once(OutputName)] | None,
        Field(description="Of the inputs that are given; default: all."),
    ] = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        inputs = [tensor.name for tensor in self.inputs]
        if len(set(inputs)) < len(inputs):
            raise RequestError("expected each input once, got one twice")
        possible = [tensor.output_name for tensor in self.inputs]
        outputs = [output.name for output in self.outputs or ()]
        if len(set(outputs)) < len(outputs) or not set(outputs) <= set(possible):
            raise RequestError(
                f"expected 'outputs' to name some of {', '.join(possible)}, each once, got one twice or another"
            )
        return self


class OutputTensor(ResponseModel):
    """Embeddings, row after row."""

    name: OutputName
    datatype: Literal["FP32"] = "FP32"
    shape: Annotated[list[int], Field(min_length=2, max_length=2, description="[N, D].")]
    data: Numbers


class InferResponse(ResponseModel):
    """A tensor for each requested output."""

    model_name: ModelName
    id: str | None = None
    outputs: Annotated[list[OutputTensor], Field(min_length=1)]


class ServerMetadata(ResponseModel):
    """The server's name and version."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(ResponseModel):
    """A tensor; -1 is any size."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: Annotated[list[int], Field(min_length=1, max_length=2)]


class ModelMetadata(ResponseModel):
    """The tensors of a model."""

    name: ModelName
    versions: list[str]
    platform: str
    inputs: Annotated[list[TensorMetadata], Field(min_length=2, max_length=2)]
    outputs: Annotated[list[TensorMetadata], Field(min_length=2, max_length=2)]
