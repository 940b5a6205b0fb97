"""Options that several verbs share, and what they name: a model, a store, a file to write."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import BundleError, StoreError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import Store

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE...", help="Images; folders are searched; - is standard input.", show_default=False),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|DIR", help="A model's name or bundle folder. Default: MI2_MODEL, else mini."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Frame = Annotated[int, typer.Option(help="Index of the frame to use of a multi-frame file, from 0.")]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        metavar="direct|azure", help="How images are resized and normalized. Default: as the model was made for."
    ),
]
StoreLocation = Annotated[
    str, typer.Argument(metavar="STORE", help="A folder, or postgresql://USER@HOST/DATABASE#NAME.", show_default=False)
]
Where = Annotated[
    str | None, typer.Option(metavar="EXPR", help="A filter, such as \"modality = 'x-ray' and age >= 40\".")
]
Top = Annotated[int, typer.Option(min=1, help="Number of labels shown for each image; --json has all of them.")]

LabelledTable = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet file with one row for each image.")
]
LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="The table's column with the labels.")]
Separator = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Text between several labels of an image, such as '|'. Default: a cell is one label."
    ),
]
SourceName = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Use only rows with this value of the column source; repeatable."),
]
CheckpointConfig = Annotated[
    Path | None, typer.Option("--config", help="The checkpoint's config, if it is in another folder.")
]
CheckpointTokenizer = Annotated[
    Path | None, typer.Option("--tokenizer", help="The checkpoint's tokenizer, if it is in another folder.")
]

ContactSheet = Annotated[
    Path | None,
    typer.Option(
        "--contact-sheet",
        "--pictures",  # the name before 0.2
        metavar="SHEET.png",
        help="Draw the results with their images onto a contact sheet.",
    ),
]
ImageFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="With --contact-sheet: a folder from which stored images may be read; repeatable. Default: the current.",
    ),
]


def load_model(model: str | None, preprocessing: str | None = None) -> "MedImageInsight":
    """Open the model that ``--model`` names."""
    from medimageinsight import MedImageInsight

    with error_context(model, BundleError):
        return MedImageInsight.load(model, preprocessing=preprocessing)  # type: ignore[arg-type]  # checked by load


def load_store(location: str) -> "Store":
    """Open the store at a location; errors name the location without its password."""
    from medimageinsight.search import open_store, redact_location

    with error_context(redact_location(location), StoreError):
        return open_store(location)


def check_output_file(out: Path) -> None:
    """Refuse a file that cannot be written, before hours of work on its content."""
    with error_context(out):
        if not out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
