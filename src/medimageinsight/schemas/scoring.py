"""The hosted endpoint's parameters and responses, as the OpenAPI description states them.

Neither is made of these models: the endpoint works without pydantic, see `medimageinsight.serve`.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from typing_extensions import TypeAliasType

from medimageinsight.preprocess import MAX_IMAGE_SIZE, Steps
from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel, documented
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.fields import Frame, Select, Vector, Window
from medimageinsight.studies import Pooling

_Flag: TypeAlias = Annotated[str, Field(pattern="^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$")]


class ScoreParams(RequestModel, extra="ignore"):
    """Parameters; others are ignored, null is the default."""

    get_scaling_factor: bool | _Flag = True
    image_standardization_image_size: Annotated[
        int, Field(ge=0, le=MAX_IMAGE_SIZE, description="Side that azure resizes to first, in pixels; 0: default.")
    ] = 0
    image_standardization_jpeg_compression_ratio: Annotated[
        int, Field(ge=0, le=100, description="Quality of azure's JPEG; 0: default.")
    ] = 0
    preprocessing: Annotated[
        Steps | None, Field(description="As the original code, or as the hosted endpoint; default: the server's.")
    ] = None
    response_shape: Annotated[
        Literal["auto", "rows", "card", "labels"] | None, Field(description="Default: the server's.")
    ] = None
    frame: Frame = 0
    window: Window = None
    percentiles: Annotated[
        Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)] | None,
        Field(description="Instead of window: the lowest and the highest percentile of the grey values, as [1, 99]."),
    ] = None
    select: Select = None
    pooling: Annotated[
        Pooling | None, Field(description="With select: how the vectors of the images become one; default: mean.")
    ] = None
    encoding_format: Annotated[
        Literal["float", "base64", "base64_float16"],
        Field(description="Vectors as numbers, or as little-endian float32 or float16 in base64."),
    ] = "float"
    on_error: Annotated[
        Literal["in_place", "fail"],
        Field(description="Whether a bad row has an error as its result or fails the request."),
    ] = "in_place"


EncodedVector = TypeAliasType(
    "EncodedVector",
    Annotated[
        Vector | Annotated[str, documented(contentEncoding="base64")],
        Field(description="Numbers, or base64 as `encoding_format` of the request states."),
    ],
)
_ScalingFactor: TypeAlias = Annotated[float, Field(description="Logarithm of the scale of cosines.")]


class ScoredRow(ResponseModel):
    """The features of one row."""

    image_features: Annotated[list[EncodedVector], Field(min_length=1, max_length=1)] | None = None
    text_features: EncodedVector | None = None
    scaling_factor: _ScalingFactor | None = None


_Cells: TypeAlias = list[EncodedVector | ErrorResponse | None]


class ImageFeatures(ResponseModel):
    """The embedding of each row's image: null where there is none."""

    image_features: _Cells


class TextFeatures(ResponseModel):
    """The embedding of each row's text: null where there is none."""

    text_features: _Cells


class ScalingFactor(ResponseModel):
    """The scaling factor, once for all rows."""

    scaling_factor: _ScalingFactor


class LabelScore(ResponseModel):
    """One label of one image."""

    label: str
    score: Annotated[float, Field(ge=0, le=1, description="Those of an image sum to 1.")]


ScoreResponse = TypeAliasType(
    "ScoreResponse",
    Annotated[list[ScoredRow | ErrorResponse], Field(title="rows", description="One object a row, in order."), ROWS]
    | Annotated[
        list[ImageFeatures | TextFeatures | ScalingFactor],
        Field(min_length=1, max_length=3, title="card", description="All images, all texts, the scaling factor."),
    ]
    | Annotated[
        list[Annotated[list[LabelScore], Field(min_length=1)] | ErrorResponse],
        Field(title="labels", description="The scores of all labels for each image, highest first."),
        ROWS,
    ],
)
