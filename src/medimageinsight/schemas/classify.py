"""Classification by labels that are texts, or for tools also by the neighbours in a store."""

from typing import Annotated, TypeAlias

from pydantic import Field

from medimageinsight.schemas.base import ROWS, RequestModel, ResponseModel, documented
from medimageinsight.schemas.errors import ErrorDetail, ErrorResponse
from medimageinsight.schemas.evidence import BestCosine, TextWarnings, UnlikeValidation
from medimageinsight.schemas.fields import Frame, Images, Model, ModelName, PoolingName, Probabilities, Select, Window
from medimageinsight.schemas.neighbours import Neighbour
from medimageinsight.schemas.parts import PartOfFile
from medimageinsight.schemas.tools import (
    MAX_LABELS,
    FileName,
    ImageFiles,
    ShortText,
    ShortTexts,
    ThumbnailPosition,
    ToolK,
    ToolStore,
    ToolWhere,
    WithThumbnails,
)

_LABELS = (
    "Labels that exclude each other, as ['No Finding', 'Pneumonia']; or each label's prompt or prompts, as "
    "{'normal': 'x-ray chest anteroposterior No Finding'}. Include the normal one."
)
_TEMPLATE = "What {} is replaced by a label in, as 'x-ray chest anteroposterior {}'. Several are averaged."

_Word: TypeAlias = Annotated[str, documented(minLength=1)]
_Prompts: TypeAlias = Annotated[list[_Word], documented(minItems=1), ROWS]
_Templates: TypeAlias = Annotated[list[_Word], Field(min_length=1), ROWS]


class ClassifyRequest(RequestModel):
    """Images and labels, which exclude each other."""

    model: Model = None
    images: Images
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    labels: Annotated[
        Annotated[list[_Word], Field(min_length=1), documented(minItems=2), ROWS]
        | Annotated[dict[str, _Word | _Prompts], documented(minProperties=2)],
        Field(description=_LABELS),
    ]
    template: Annotated[_Word | _Templates | None, Field(description=_TEMPLATE)] = None
    fields: Annotated[dict[str, str] | None, Field(description="Values of the template's other names.")] = None


class ClassifiedPart(PartOfFile):
    """The probabilities of one image of a file."""

    probabilities: Probabilities | None = None


class ClassifyResult(ResponseModel):
    """The probabilities of one image, or with `select` those of a file's pooled vector and of its images."""

    probabilities: Probabilities
    cosine: BestCosine
    unlike_validation: UnlikeValidation = None
    images: Annotated[
        list[ClassifiedPart] | None, Field(description="With select: the images whose vectors were pooled, in order.")
    ] = None


class ClassifyResponse(ResponseModel):
    """One result for each image, in order."""

    model: ModelName
    results: list[ClassifyResult | ErrorResponse]
    warnings: TextWarnings = None


class ClassifyArguments(RequestModel):
    """Image files with labels, or with a store and its column of labels."""

    images: ImageFiles
    labels: Annotated[
        Annotated[list[ShortText], Field(min_length=1, max_length=MAX_LABELS), documented(minItems=2)]
        | Annotated[
            dict[ShortText, ShortText | ShortTexts],
            Field(min_length=1, max_length=MAX_LABELS),
            documented(minProperties=2),
        ]
        | None,
        Field(description=_LABELS),
    ] = None
    template: Annotated[ShortText | ShortTexts | None, Field(description=_TEMPLATE)] = None
    store: ToolStore = None
    label_column: Annotated[
        FileName | None,
        Field(description="Instead of labels: the store's column that holds the labels of its images."),
    ] = None
    k: ToolK = 10
    where: ToolWhere = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    thumbnails: WithThumbnails = False


class FoundNeighbour(Neighbour):
    """A stored image that voted, and its thumbnail."""

    thumbnail: ThumbnailPosition = None


class ClassifiedImage(ResponseModel):
    """The probabilities of one image, or its error."""

    image: Annotated[str, Field(description="As it was asked for.")]
    label: Annotated[str | None, Field(description="The most probable label.")] = None
    probabilities: dict[str, float] = Field(default_factory=dict, description="They sum to 1.")
    cosine: Annotated[
        float | None,
        Field(description="Cosine of the image with the most similar label or stored image: whether anything fits."),
    ] = None
    unlike_validation: UnlikeValidation = None
    neighbours: list[FoundNeighbour] = Field(
        default_factory=list, description="The evidence: the stored images that voted, most similar first."
    )
    excluded: Annotated[
        int, Field(description="Stored images that could not vote, as they are of the image's own patient.")
    ] = 0
    patients_unknown: Annotated[
        bool | None,
        Field(description="With neighbours: whether the patient of the image, or of one that voted, is not known."),
    ] = None
    error: ErrorDetail | None = None


class ClassifiedImages(ResponseModel):
    """One result for each image, in order."""

    results: list[ClassifiedImage]
    warnings: TextWarnings = None
