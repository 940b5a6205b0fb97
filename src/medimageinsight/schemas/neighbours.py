"""Labels by the most similar stored images, which are returned as evidence."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from medimageinsight.errors import RequestError
from medimageinsight.schemas.base import RequestModel, ResponseModel, documented
from medimageinsight.schemas.errors import ErrorResponse
from medimageinsight.schemas.evidence import UnlikeValidation
from medimageinsight.schemas.fields import Frame, Images, K, Model, ModelName, Name, Probabilities, Store, Where, Window
from medimageinsight.schemas.search import Hit
from medimageinsight.search import StoreNeighbour
from medimageinsight.tasks import NeighbourSettings

MAX_NEIGHBOURS = 100_000  # of one answer, which is held in memory with their metadata


class NeighboursRequest(RequestModel):
    """Images and the store whose labelled images vote."""

    store: Store
    images: Images
    frame: Frame = 0
    window: Window = None
    label: Annotated[Name, Field(description="The column of labels; images without a value in it do not vote.")]
    k: K = 10
    temperature: Annotated[
        Annotated[float, documented(exclusiveMinimum=0)],
        Field(description="In units of cosine; the lower, the more the nearest decides."),
    ] = NeighbourSettings.temperature
    where: Where = None
    model: Model = None

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        count = len(self.images) * self.k
        if count > MAX_NEIGHBOURS:
            raise RequestError(f"expected 'images' times 'k' to be at most {MAX_NEIGHBOURS:,}, got {count:,}")
        return self


class Neighbour(Hit):
    """A stored image that voted."""

    label: str
    weight: Annotated[float, Field(description="Its share of the vote, 0 to 1.")]

    @classmethod
    def of_neighbour(cls, neighbour: StoreNeighbour) -> "Neighbour":
        """Return a neighbour of a store in its JSON form."""
        hit = neighbour.hit
        return cls(
            id=hit.id,
            path=hit.path,
            score=hit.score,
            metadata=hit.metadata,
            label=neighbour.label,
            weight=neighbour.weight,
        )


class NeighboursResult(ResponseModel):
    """The probabilities of one image, and the stored images that voted, most similar first."""

    probabilities: Probabilities
    cosine: Annotated[
        float | None, Field(description="Cosine similarity of the most similar stored image; absent if none voted.")
    ] = None
    unlike_validation: UnlikeValidation = None
    neighbours: list[Neighbour]
    excluded: Annotated[
        int, Field(description="Stored images that could not vote, as they are of the image's own patient.")
    ] = 0
    patients_unknown: Annotated[
        bool, Field(description="Whether the patient of the image, or of one that voted, is not known.")
    ] = True


class NeighboursResponse(ResponseModel):
    """One result for each image, in order."""

    model: ModelName
    results: list[NeighboursResult | ErrorResponse]
