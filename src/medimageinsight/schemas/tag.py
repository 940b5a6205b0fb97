"""Tags of images, by a vocabulary or by a tagger of the server."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from medimageinsight.schemas.base import RequestModel, ResponseModel, documented
from medimageinsight.schemas.errors import ErrorDetail, ErrorResponse
from medimageinsight.schemas.evidence import BestCosine, TextWarnings, UnlikeValidation
from medimageinsight.schemas.fields import Frame, Images, Model, ModelName, Name, PoolingName, Select, Window
from medimageinsight.schemas.parts import PartOfFile
from medimageinsight.schemas.tools import FileName, ImageFiles
from medimageinsight.tagging import VOCABULARIES

_VOCABULARY = "Ready-made terms that exclude each other; their scores are probabilities."
_TAGGER = "Instead of a vocabulary: the name of a tagger of this server."
_THRESHOLD = "With a vocabulary: the score from which a term is present; 0.5 when not given."


class TagRequest(RequestModel):
    """Images, and a vocabulary or a tagger."""

    exactly_one: ClassVar[tuple[str, ...]] = ("vocabulary", "tagger")

    model: Model = None
    images: Images
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None
    vocabulary: Annotated[
        Annotated[Name, documented(enum=list(VOCABULARIES))] | None, Field(description=_VOCABULARY)
    ] = None
    tagger: Annotated[Name | None, Field(description=_TAGGER)] = None
    threshold: Annotated[Annotated[float, documented(minimum=0, maximum=1)] | None, Field(description=_THRESHOLD)] = (
        None
    )


class TagScore(ResponseModel):
    """One tag of one image."""

    score: float
    threshold: float
    present: Annotated[bool, Field(description="Whether the score reaches the threshold.")]
    cosine: Annotated[
        float | None,
        Field(description="Cosine similarity of the image with the tag's prompts; absent if an adapter scores it."),
    ] = None


Tags: TypeAlias = dict[str, TagScore]


class TaggedPart(PartOfFile):
    """The scores of one image of a file, by tag."""

    scores: dict[str, float] | None = None


class TagResult(ResponseModel):
    """The tags of one image, by name; with `select` those of a file's pooled vector, and the scores of its images."""

    tags: Tags
    images: Annotated[
        list[TaggedPart] | None, Field(description="With select: the images whose vectors were pooled, in order.")
    ] = None
    cosine: BestCosine | None = None
    unlike_validation: UnlikeValidation = None


class TagResponse(ResponseModel):
    """One result for each image, in order."""

    model: ModelName
    results: list[TagResult | ErrorResponse]
    warnings: TextWarnings = None


class TagArguments(RequestModel):
    """Image files, and a vocabulary or a tagger."""

    images: ImageFiles
    vocabulary: Annotated[Literal["modality", "anatomy", "view"] | None, Field(description=_VOCABULARY)] = None
    tagger: Annotated[FileName | None, Field(description=_TAGGER)] = None
    threshold: Annotated[Annotated[float, Field(ge=0, le=1)] | None, Field(description=_THRESHOLD)] = None
    frame: Frame = 0
    window: Window = None
    select: Select = None
    pooling: PoolingName = None


class TaggedImage(ResponseModel):
    """The tags of one image, or its error."""

    image: Annotated[str, Field(description="As it was asked for.")]
    present: list[str] = Field(default_factory=list, description="The tags it has, highest score first.")
    tags: Tags = Field(default_factory=dict)
    cosine: BestCosine | None = None
    unlike_validation: UnlikeValidation = None
    error: ErrorDetail | None = None


class TaggedImages(ResponseModel):
    """One result for each image, in order."""

    results: list[TaggedImage]
    warnings: TextWarnings = None
