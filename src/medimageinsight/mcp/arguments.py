"""The tools' arguments: what each means, for the agent that has to choose it, and how much of it there may be."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_IMAGES = 32  # of a call
MAX_ITEMS = 64  # of one side of a comparison
MAX_LABELS = 200
MAX_K = 100
MAX_EXAMPLES = 50

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Label: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]
Prompts: TypeAlias = Annotated[list[Label], Field(min_length=1, max_length=20)]

Images = Annotated[
    list[Name],
    Field(
        min_length=1,
        max_length=MAX_IMAGES,
        description="Image files, absolute or relative to one of the server's folders: DICOM, PNG, JPEG, TIFF ...",
    ),
]
Labels = Annotated[
    Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)]
    | Annotated[dict[Label, Label | Prompts], Field(min_length=1, max_length=MAX_LABELS)]
    | None,
    Field(
        description="Labels that exclude each other, as ['No Finding', 'Pneumonia']; or each label's prompt or "
        "prompts, as {'normal': 'x-ray chest anteroposterior No Finding'}. Include the normal one."
    ),
]
Template = Annotated[
    Label | Prompts | None,
    Field(description="What {} is replaced by a label in, as 'x-ray chest anteroposterior {}'. Several are averaged."),
]
Store = Annotated[Name | None, Field(description="A store's name; may be left out where the server has one only.")]
LabelColumn = Annotated[
    Name | None,
    Field(description="Instead of labels: the store's column that holds the labels of its images."),
]
K = Annotated[int, Field(ge=1, le=MAX_K, description="How many stored images at most.")]
Where = Annotated[
    Annotated[str, Field(max_length=4000)] | None,
    Field(description="A filter on the store's columns, as \"modality = 'x-ray' and age >= 40\"."),
]
Frame = Annotated[int, Field(ge=0, description="Which frame of multi-frame files, from 0.")]
Pictures = Annotated[
    bool, Field(description="Also answer with small pictures of the stored images, as far as they may be read.")
]
Image = Annotated[Name | None, Field(description="An image file, absolute or relative to one of the server's folders.")]
SearchText = Annotated[
    Annotated[str, Field(min_length=1, max_length=2000)] | None,
    Field(description="A short text in the form of the training captions, as 'x-ray chest pneumonia'."),
]
ItemId = Annotated[Name | None, Field(description="The id of a stored image; it is found too.")]
MinScore = Annotated[float | None, Field(ge=-1, le=1, description="The smallest cosine similarity.")]
OtherThanSame = Annotated[
    Name | None,
    Field(description="With id alone: leave out images with its value in this column, as PatientID."),
]
Vocabulary = Annotated[
    Literal["modality", "anatomy", "view"] | None,
    Field(description="Ready-made terms that exclude each other; their scores are probabilities."),
]
TaggerName = Annotated[Name | None, Field(description="Instead of a vocabulary: the name of a tagger of this server.")]
Threshold = Annotated[
    float | None,
    Field(ge=0, le=1, description="With a vocabulary: the score from which a term is there; 0.5 when not given."),
]
Query = Annotated[str, Field(max_length=500, description="Words to look for, as 'pneumonia' or 'benign breast'.")]
Modality = Annotated[str, Field(max_length=100, description="Only this modality, as 'x-ray', 'CT', 'MRI'.")]
Anatomy = Annotated[str, Field(max_length=100, description="Only this part of the body, as 'chest'.")]
Limit = Annotated[int, Field(ge=1, le=MAX_EXAMPLES, description="How many examples at most.")]


class Item(BaseModel):
    """One thing to compare: ``{"image": path}`` or ``{"text": text}``."""

    model_config = ConfigDict(extra="forbid")

    image: Image = None
    text: SearchText = None

    @model_validator(mode="after")
    def _one(self) -> "Item":
        if (self.image is None) == (self.text is None):
            raise ValueError("give either image or text")
        return self

    @property
    def given(self) -> tuple[str, str]:
        """Its kind and its value."""
        return ("text", str(self.text)) if self.image is None else ("image", self.image)


Items = Annotated[
    list[Item],
    Field(min_length=1, max_length=MAX_ITEMS, description='Rows: each {"image": path} or {"text": text}.'),
]
MoreItems = Annotated[
    Annotated[list[Item], Field(min_length=1, max_length=MAX_ITEMS)] | None,
    Field(description="Columns, of the same form; without them every row is compared with every row."),
]
