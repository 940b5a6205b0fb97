"""OpenAI's embeddings API, with images as data URIs or ``{"image": ...}`` objects."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    with_config,
)
from typing_extensions import TypeAliasType, TypedDict

from medimageinsight.errors import InputError, RequestError
from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel, documented
from medimageinsight.schemas.fields import IMAGE, ModelName, Text, Vector
from medimageinsight.schemas.validation import WRONG_TYPES, kind_of


class ImageInput(RequestModel):
    """``{"image": ...}``."""

    image: Annotated[str, Field(min_length=1, description=IMAGE)]


class TextInput(RequestModel):
    """``{"text": ...}``."""

    text: Text


EmbeddingsInput = TypeAliasType(
    "EmbeddingsInput",
    Annotated[Text, Field(description="A text, or an image as a data: URI.")] | ImageInput | TextInput,
)


def _wrong_member(value: object) -> InputError | None:
    """Return the error of the first input object whose image or text is no string."""
    inputs = value if isinstance(value, list) else [value]
    for item in (item for item in inputs if isinstance(item, dict)):
        for member, (error, code) in WRONG_TYPES.items():
            if not isinstance(item.get(member, ""), str | None):
                return error(f"expected '{member}' to be a string, got {kind_of(item[member])}", code=code)
    return None


class EmbeddingsRequest(RequestModel, extra="ignore"):
    """One input or several. Other members, as ``user``, are ignored."""

    model: Annotated[ModelName | Literal[""] | None, Field(description="Default: the first model.")] = None
    input: EmbeddingsInput | Annotated[list[EmbeddingsInput], Field(min_length=1), ROWS]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[None, Field(description="Refused: the vectors cannot be shortened.")] = None

    @field_validator("input", mode="wrap")
    @classmethod
    def _check_input(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return handler(value)
        except ValidationError:
            raise _wrong_member(value) or RequestError(
                'expected inputs that are not empty: texts, data: URIs, {"image": ...} or {"text": ...}, got '
                f"{kind_of(value)}: lists of token ids are not read"
            ) from None

    @field_validator("dimensions", mode="before")
    @classmethod
    def _refuse_dimensions(cls, value: object) -> object:
        if value is not None:
            raise RequestError(
                "expected no 'dimensions', got some: these embeddings cannot be shortened",
                code="dimensions_unsupported",
            )
        return value


_Count: TypeAlias = Annotated[int, Field(ge=0)]


@with_config(ConfigDict(extra="forbid"))
class Embedding(TypedDict):  # no model: an answer may have a thousand
    """The embedding of one input."""

    object: Literal["embedding"]
    index: _Count
    embedding: Annotated[
        Vector | Annotated[str, documented(contentEncoding="base64")],
        Field(description="Numbers, or little-endian float32 in base64."),
    ]


class Usage(ResponseModel):
    """The number of tokens of the texts."""

    prompt_tokens: _Count
    total_tokens: _Count


class EmbeddingsResponse(ResponseModel):
    """One embedding for each input, in order."""

    object: Literal["list"] = "list"
    data: Annotated[SkipValidation[list[Embedding]], ROWS]
    model: ModelName
    usage: Usage


class OpenAIModel(ResponseModel):
    """A model of the server."""

    id: ModelName
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "medimageinsight"


class OpenAIModelList(ResponseModel):
    """The models of the server."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]
