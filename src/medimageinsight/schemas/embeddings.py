"""OpenAI's embeddings API, with images as data URIs or ``{"image": ...}`` objects; and Azure AI's image embeddings."""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

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
from medimageinsight.schemas.fields import IMAGE, Frame, ModelName, Text, Vector, Window
from medimageinsight.schemas.validation import WRONG_TYPES, is_unicode, kind_of, not_unicode


class ImageInput(RequestModel):
    """``{"image": ...}``."""

    image: Annotated[str, Field(min_length=1, description=IMAGE)]


class TextInput(RequestModel):
    """``{"text": ...}``."""

    text: Text


EmbeddingsInput = TypeAliasType(
    "EmbeddingsInput",
    Annotated[Text, Field(description="A text, or an image as data:...;base64,...")] | ImageInput | TextInput,
)


class ImageUrl(RequestModel, extra="ignore"):
    """An image of a chat message."""

    url: Annotated[str, Field(min_length=1, description=IMAGE)]


class ImagePart(RequestModel, extra="ignore"):
    """An image in a chat message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(RequestModel, extra="ignore"):
    """A text in a chat message; an empty one is skipped."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestModel, extra="ignore"):
    """A chat message, as vLLM's clients send images; its role has no effect."""

    role: str | None = None
    content: str | Annotated[list[ImagePart | TextPart], Field(min_length=1)]


def _wrong_member(value: object) -> InputError | None:
    """Return the error of the first input that is no Unicode, or an object whose image or text is no string."""
    for item in value if isinstance(value, list) else [value]:
        members: dict[str, Any] = item if isinstance(item, dict) else {"": item}
        if not all(is_unicode(cell) for cell in members.values() if isinstance(cell, str)):
            return not_unicode()
        for member, (error, code) in WRONG_TYPES.items():
            if not isinstance(members.get(member, ""), str | None):
                return error(f"expected '{member}' to be a string, got {kind_of(members[member])}", code=code)
    return None


_Dimensions: TypeAlias = Annotated[int, documented(**{"x-embedding-dims": True})]
_EncodingFormat: TypeAlias = Literal["float", "base64"]
_ModelOrEmpty: TypeAlias = Annotated[ModelName | Literal[""] | None, Field(description="Default: the first model.")]
_DIMENSIONS = "The length of the model's embeddings; another is refused: they cannot be shortened."


class EmbeddingsRequest(RequestModel, extra="ignore"):
    """One input or several, or chat messages. Other members, as ``user``, are ignored."""

    exactly_one: ClassVar[tuple[str, ...]] = ("input", "messages")

    model: _ModelOrEmpty = None
    input: EmbeddingsInput | Annotated[list[EmbeddingsInput], Field(min_length=1), ROWS] | None = None
    messages: Annotated[
        Annotated[list[ChatMessage], Field(min_length=1)] | None,
        Field(description="An embedding for each image and each text in them, in order."),
    ] = None
    encoding_format: _EncodingFormat = "float"
    dimensions: Annotated[_Dimensions | None, Field(description=_DIMENSIONS)] = None
    frame: Frame = 0
    window: Window = None

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


class DeploymentEmbeddingsRequest(EmbeddingsRequest):
    """The same for the model that the path names."""

    model: Annotated[str | None, Field(description="Ignored.")] = None


class ImageEmbeddingsInput(RequestModel, extra="ignore"):
    """An image. A text with it is refused: the model has no joint embedding."""

    image: Annotated[str, Field(min_length=1, description=IMAGE)]
    text: str | None = None


class ImageEmbeddingsRequest(RequestModel, extra="ignore"):
    """Images, as clients of the Azure AI Model Inference API send them. Other members are ignored."""

    model: _ModelOrEmpty = None
    input: Annotated[list[ImageEmbeddingsInput], Field(min_length=1), ROWS]
    encoding_format: _EncodingFormat = "float"
    dimensions: Annotated[_Dimensions | None, Field(description=_DIMENSIONS)] = None
    input_type: Annotated[
        Literal["text", "query", "document"] | None, Field(description="Has no effect: embeddings are the same.")
    ] = None
    frame: Frame = 0
    window: Window = None


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


class ModelInfo(ResponseModel):
    """The first model, in the form of the Azure AI Model Inference API."""

    model_name: ModelName
    model_type: Literal["embeddings"] = "embeddings"
    model_provider_name: str = "medimageinsight"
