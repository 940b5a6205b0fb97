"""Options that several verbs share, and the model that ``--model`` names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import BundleError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE...", help="Images; folders are searched; - is standard input.", show_default=False),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|DIR", help="A model's name or bundle folder. Default: MI2_MODEL, else mini."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Frame = Annotated[int, typer.Option(help="Which frame of a multi-frame file, from 0.")]
Preprocessing = Annotated[
    str | None,
    typer.Option(metavar="direct|azure", help="How pixels are prepared. Default: the model's own way."),
]
StoreLocation = Annotated[
    str,
    typer.Argument(metavar="STORE", help="A folder, or postgresql://USER@HOST/DATABASE#NAME.", show_default=False),
]
Where = Annotated[
    str | None, typer.Option(metavar="EXPR", help="A filter, such as \"modality = 'x-ray' and age >= 40\".")
]
Top = Annotated[int, typer.Option(min=1, help="Labels shown for each image; --json has all of them.")]

LabelledTable = Annotated[
    Path, typer.Argument(metavar="TABLE", help="A .csv or .parquet file with one row for each image.")
]
LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="The table's column of labels.")]
Separator = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Separates several labels in a cell, as '|'. Default: one label in a cell."),
]
SourceName = Annotated[
    list[str] | None, typer.Option("--source", metavar="NAME", help="Only images of this source; repeatable.")
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
        help="With --contact-sheet: read stored images only from below here; repeatable. Default: the current folder.",
    ),
]


def load_model(model: str | None, preprocessing: str | None = None) -> "MedImageInsight":
    """Open the model that ``--model`` names."""
    from medimageinsight import MedImageInsight

    with error_context(model, BundleError):
        return MedImageInsight.load(model, preprocessing=preprocessing)  # type: ignore[arg-type]  # checked by load
