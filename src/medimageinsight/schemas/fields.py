"""Members that several requests and responses have, with their limits and descriptions."""

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypeAliasType

from medimageinsight.errors import InputError, RequestError
from medimageinsight.images import PRESETS
from medimageinsight.preprocess import MAX_FRAME, parse_json_window
from medimageinsight.schemas.base import ROWS, documented
from medimageinsight.search.filter_parser import MAX_LENGTH
from medimageinsight.search.projection import MAX_SAMPLE
from medimageinsight.search.store import MAX_K
from medimageinsight.studies import parse_selection
from medimageinsight.tokenizer import MAX_CHARACTERS

DEFAULT_MAP_POINTS = 2000


class _Array:
    """Marks an array that is passed through unchecked and printed as a JSON list."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        return core_schema.any_schema()


_NUMBERS = {"type": "array", "items": {"type": "number"}}
Numbers: TypeAlias = Annotated[NDArray[np.float32], _Array(), WithJsonSchema(_NUMBERS)]
# The OpenAPI document adds the length of the models' embeddings, and the models' names.
Vector = TypeAliasType("Vector", Annotated[NDArray[np.float32], _Array(), WithJsonSchema(_NUMBERS)])
ModelName = TypeAliasType("ModelName", str)

Name: TypeAlias = Annotated[str, Field(min_length=1)]
Model: TypeAlias = Annotated[ModelName | None, Field(description="Default: the first model, or the store's.")]
IMAGE = (
    "A PNG, JPEG, TIFF, BMP or DICOM file in base64, with line breaks or without, or a data: URI; an http(s) URL where "
    "the server's operator allowed its host."
)


def _replace_surrogates(value: object) -> object:
    """Replace halves of surrogate pairs, so that base64 with them is one image's error."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode(errors="replace").decode()


Image = TypeAliasType("Image", Annotated[str, BeforeValidator(_replace_surrogates), Field(description=IMAGE)])
Text = TypeAliasType("Text", Annotated[str, Field(min_length=1), documented(maxLength=MAX_CHARACTERS)])
Images: TypeAlias = Annotated[
    list[Image | None],
    Field(min_length=1, description="Null and an empty string are images that cannot be used."),
    ROWS,
]
Frame: TypeAlias = Annotated[int, Field(ge=0, le=MAX_FRAME, description="Which frame of multi-frame files, from 0.")]


def _parse_window(value: object) -> str:
    try:
        return parse_json_window(value)
    except InputError as error:
        raise RequestError(error.message, code=error.code) from None


_NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"
_WINDOW_TEXT = rf"^({_NUMBER}/{_NUMBER}|{_NUMBER}%\s*-{_NUMBER}%\s*|\s*\d{{1,6}}\s*|{'|'.join(PRESETS)})$"
_WINDOW = {
    "anyOf": [
        {"type": "string", "pattern": _WINDOW_TEXT, "examples": ["40/400", *PRESETS, "1%-99%"]},
        {"type": "integer", "minimum": 0, "maximum": MAX_FRAME},
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    ]
}
Window: TypeAlias = Annotated[
    Annotated[str, BeforeValidator(_parse_window), WithJsonSchema(_WINDOW)] | None,
    Field(
        description="The grey values to show of images of more than 8 bits: center/width as '40/400' or [40, 400]; a "
        f"preset for Hounsfield units ({', '.join(PRESETS)}); the index of one of the file's own windows; percentiles "
        "as '1%-99%'. Default: the file's own."
    ),
]
"""In Python, the canonical text of `images.parse_window`."""


def _parse_select(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return str(parse_selection(value))
    except InputError as error:
        raise RequestError(error.message, code=error.code) from None


Select: TypeAlias = Annotated[
    Annotated[str, BeforeValidator(_parse_select)] | None,
    Field(
        examples=["all", "even:16", "every:3", "centre:5", "frames:0,5,10-19", "mm:-40..60"],
        description="Which images of a file with several (multi-frame DICOM, NIfTI, NRRD, MetaImage, TIFF, ZIP or TAR "
        "of a study) are embedded, instead of `frame`; the result is that of their pooled vector, and theirs.",
    ),
]
PoolingName: TypeAlias = Annotated[
    Literal["mean", "median", "max"] | None,
    Field(description="With select: how the vectors of the images become one; default: median."),
]
Store: TypeAlias = Annotated[Name, Field(description="The name of a store, see `/api/about`.")]
K: TypeAlias = Annotated[int, Field(ge=1, le=MAX_K, description="How many stored images at most.")]
Where: TypeAlias = Annotated[
    Annotated[Name, documented(maxLength=MAX_LENGTH)] | None,
    Field(description="A filter on the store's columns, as \"modality = 'x-ray' and age >= 40\"."),
]
MapPoints: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SAMPLE, description="The most points.")]
Probabilities: TypeAlias = Annotated[dict[str, float], Field(description="Of each label; they sum to 1.")]
