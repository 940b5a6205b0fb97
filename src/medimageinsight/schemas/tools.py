"""Members of the tools' arguments: image files instead of images, and limits that keep an agent's calls small."""

from typing import Annotated, TypeAlias

from pydantic import Field

from medimageinsight.schemas.fields import K, Name

MAX_IMAGES = 32  # of a call
MAX_ITEMS = 64  # of each list of a comparison
MAX_LABELS = 200
MAX_PROMPTS = 20  # of a label, and templates
MAX_TOOL_K = 100
MAX_EXAMPLES = 50

FileName: TypeAlias = Annotated[Name, Field(max_length=4096)]
ShortText: TypeAlias = Annotated[str, Field(min_length=1, max_length=500)]
ShortTexts: TypeAlias = Annotated[list[ShortText], Field(min_length=1, max_length=MAX_PROMPTS)]

ImageFile: TypeAlias = Annotated[
    FileName | None,
    Field(
        description="An image file, absolute or relative to one of the server's folders; or a folder with the files of "
        "one study."
    ),
]
ImageFiles: TypeAlias = Annotated[
    list[FileName],
    Field(
        min_length=1,
        max_length=MAX_IMAGES,
        description="Image files, absolute or relative to one of the server's folders: DICOM, PNG, JPEG, TIFF, NIfTI, "
        "ZIP ...; or folders with the files of one study each.",
    ),
]
ToolText: TypeAlias = Annotated[
    Annotated[str, Field(min_length=1, max_length=2000)] | None,
    Field(description="A short text in the form of the training captions, as 'x-ray chest pneumonia'."),
]
ToolStore: TypeAlias = Annotated[
    FileName | None, Field(description="A store's name; may be left out where the server has one only.")
]
ToolK: TypeAlias = Annotated[K, Field(le=MAX_TOOL_K)]
ToolWhere: TypeAlias = Annotated[
    Annotated[str, Field(max_length=4000)] | None,
    Field(description="A filter on the store's columns, as \"modality = 'x-ray' and age >= 40\"."),
]
WithThumbnails: TypeAlias = Annotated[
    bool,
    Field(alias="pictures", description="Also return thumbnails of the stored images, as far as they may be read."),
]
ThumbnailPosition: TypeAlias = Annotated[
    int | None, Field(alias="picture", description="Position of its thumbnail among the answer's images, from 1.")
]
