"""What the tools answer with; the protocol's output schemas are made of these."""

# No postponed annotations: pydantic reads them.
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

Metadata = dict[str, str | int | float | bool | None]


class Failure(BaseModel):
    """Why something could not be done."""

    code: str = Field(description="Stable identifier, lower snake case.")
    message: str = Field(description="What was expected, what came, what to do.")


class HitAnswer(BaseModel):
    """One stored image."""

    id: str
    path: str = Field(description="Where the image is, as it was given when it was stored.")
    score: float = Field(description="Cosine similarity, -1 to 1.")
    metadata: Metadata = Field(default_factory=dict)
    picture: int | None = Field(default=None, description="Place of its picture among the answer's images, from 1.")


class SearchAnswer(BaseModel):
    """The nearest stored images."""

    store: str
    hits: list[HitAnswer] = Field(description="Best first.")


class NeighbourAnswer(HitAnswer):
    """A stored image that voted."""

    label: str
    weight: float = Field(description="Its share of the vote, 0 to 1.")


class Classified(BaseModel):
    """What became of one image: probabilities or an error."""

    image: str = Field(description="As it was asked for.")
    label: str | None = Field(default=None, description="The most probable label.")
    probabilities: dict[str, float] = Field(default_factory=dict, description="They sum to 1.")
    neighbours: list[NeighbourAnswer] = Field(
        default_factory=list, description="The evidence: the stored images that voted, most similar first."
    )
    error: Failure | None = None


class ClassifyAnswer(BaseModel):
    """One result an image, in order."""

    results: list[Classified]


class CompareAnswer(BaseModel):
    """Cosines of every row with every column."""

    rows: list[str]
    columns: list[str]
    similarity: list[list[float]] = Field(description="similarity[row][column], -1 to 1; no percentage, no diagnosis.")


class TagScore(BaseModel):
    """One tag of one image."""

    score: float
    threshold: float
    present: bool = Field(description="Whether the score reaches the threshold.")


class TaggedImage(BaseModel):
    """What became of one image: tags or an error."""

    image: str = Field(description="As it was asked for.")
    present: list[str] = Field(default_factory=list, description="The tags it has, highest score first.")
    tags: dict[str, TagScore] = Field(default_factory=dict)
    error: Failure | None = None


class TagAnswer(BaseModel):
    """One result an image, in order."""

    results: list[TaggedImage]


class LabelExample(BaseModel):
    """A prompt in the form of the training captions, and its parts as far as it has them."""

    prompt: str
    modality: str | None = None
    anatomy: str | None = None
    view: str | None = None
    finding: str | None = None


class LabelExamplesAnswer(BaseModel):
    """Examples, those with most words of the query first."""

    form: str = Field(description="How prompts are built.")
    matched: bool = Field(description="False: nothing has a word of the query, these are examples of other things.")
    total: int = Field(description="How many examples fit, shown or not.")
    examples: list[LabelExample]


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """A tool's answer: data for programs, a few lines for readers, and pictures (PNG) where they were asked for."""

    data: BaseModel
    text: str
    pictures: list[bytes] = field(default_factory=list)
