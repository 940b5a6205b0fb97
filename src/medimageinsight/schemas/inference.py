"""The Open Inference Protocol, version 2: the tensors ``image`` and ``text``, and their embeddings."""

import math
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SkipValidation, model_validator
from pydantic.json_schema import SkipJsonSchema

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
_BinaryElement: TypeAlias = SkipJsonSchema[Annotated[bytes, Field(min_length=1)]]  # of a binary tensor: no JSON
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
    data: Annotated[
        list[_Element | Annotated[list[_Element], Field(min_length=1, max_length=1)] | _BinaryElement], ROWS
    ]

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
    def cells(self) -> list[str | bytes]:
        """The elements, each without its list."""
        return [element[0] if isinstance(element, list) else element for element in self.data]


class OutputParameters(RequestModel, extra="ignore"):
    """How a tensor is returned."""

    binary_data: Annotated[
        bool | None, Field(description="After the JSON instead of in it; default: the request's binary_data_output.")
    ] = None


class RequestedOutput(RequestModel, extra="ignore"):
    """A tensor to return."""

    name: OutputName
    parameters: OutputParameters | None = None


class InferParams(ScoreParams):
    """As of a scoring request, and of the binary tensor extension."""

    encoding_format: Annotated[Literal["float"], Field(description="Tensors are numbers, or binary.")] = "float"
    binary_data_output: Annotated[bool, Field(description="Return tensors after the JSON instead of in it.")] = False


class InferRequest(RequestModel, extra="ignore"):
    """One tensor of images, one of texts or both."""

    id: str | None = None
    parameters: SkipValidation[InferParams | None] = None  # the JSON value: its own parser has another error code
    inputs: Annotated[list[InputTensor], Field(min_length=1), _once(InputName)]
    outputs: Annotated[
        Annotated[list[RequestedOutput], Field(min_length=1), _once(OutputName)] | None,
        Field(description="Of the inputs that are given; default: all."),
    ] = None

    def is_binary(self, output: str) -> bool:
        """Return whether a tensor is to follow the JSON of the response."""
        parameters: Any = self.parameters  # a JSON object or null, once it was parsed
        for requested in self.outputs or ():
            if requested.name == output and requested.parameters and requested.parameters.binary_data is not None:
                return requested.parameters.binary_data
        return bool(parameters and parameters.get("binary_data_output"))

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


class BinarySize(ResponseModel):
    """The number of bytes of a tensor after the JSON."""

    binary_data_size: int


class BinaryOutputTensor(ResponseModel):
    """Embeddings that follow the JSON as little-endian float32."""

    name: OutputName
    datatype: Literal["FP32"] = "FP32"
    shape: list[int]
    parameters: BinarySize


class InferResponse(ResponseModel):
    """A tensor for each requested output."""

    model_name: ModelName
    model_version: str
    id: str | None = None
    outputs: Annotated[list[OutputTensor | SkipJsonSchema[BinaryOutputTensor]], Field(min_length=1)]


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


class Duration(ResponseModel):
    """How often something was done, and how long it took in all."""

    count: int
    ns: int


class InferenceStatistics(ResponseModel):
    """Durations by stage: of requests, of inputs in the queue and in preparation, of batches, of responses."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class BatchStatistics(ResponseModel):
    """Durations of the batches of one size."""

    batch_size: int
    compute_infer: Duration


class ModelStatistics(ResponseModel):
    """What one process has done with a model, whatever protocol asked for it."""

    name: ModelName
    version: str
    last_inference: Annotated[int, Field(description="Milliseconds since 1970; 0 before the first.")]
    inference_count: Annotated[int, Field(description="Images and texts that were embedded, or found in the cache.")]
    execution_count: Annotated[int, Field(description="Batches that went through the network.")]
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics]


class ModelStatisticsResponse(ResponseModel):
    """The statistics of one model or of all."""

    model_stats: list[ModelStatistics]


class ConfigTensor(ResponseModel):
    """A tensor; -1 is any size."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(ResponseModel):
    """A model's tensors, as Triton's clients read them."""

    name: ModelName
    platform: str
    backend: str
    max_batch_size: Annotated[int, Field(description="0: the shapes have their first axis.")]
    input: list[ConfigTensor]
    output: list[ConfigTensor]
