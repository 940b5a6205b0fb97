"""What accompanies percentages: the best cosine, the mark of images unlike any that were checked, unknown words."""

from typing import Annotated, Any, TypeAlias

from pydantic import Field

from medimageinsight.bundle import warn_of_words
from medimageinsight.schemas.base import ResponseModel

BestCosine: TypeAlias = Annotated[
    float,
    Field(
        description="Cosine similarity of the image with the most similar text; percentages sum to 100 even if nothing "
        "fits."
    ),
]
UnlikeValidation: TypeAlias = Annotated[
    bool | None,
    Field(
        description="Whether the image is unlike anything that the model was checked on, whatever the texts. Absent if "
        "the model has no validation statistics."
    ),
]


class TextWarning(ResponseModel):
    """A warning about the texts of a request."""

    code: Annotated[str, Field(description="`words_unknown`.")]
    message: str
    words: Annotated[list[str], Field(description="Words that the model never learned.")]

    @classmethod
    def of(cls, words: tuple[str, ...]) -> "list[TextWarning] | None":
        """Return the warnings about unknown words; None without any."""
        warning: dict[str, Any] | None = warn_of_words(words)
        return None if warning is None else [cls(**warning)]


TextWarnings: TypeAlias = Annotated[list[TextWarning] | None, Field(description="Absent if there are none.")]
