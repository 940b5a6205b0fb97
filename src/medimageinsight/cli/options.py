"""Options that several verbs share, and the model that they name."""

from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import BundleError

if TYPE_CHECKING:
    from medimageinsight.api import MedImageInsight

Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME|DIR", help="A model's name or bundle folder. Default: MI2_MODEL, else mini."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Frame = Annotated[int, typer.Option(help="Which frame of a multi-frame file, from 0.")]
Preprocessing = Annotated[
    str | None,
    typer.Option(metavar="direct|azure", help="How pixels are prepared. Default: as the model says."),
]


def load_model(model: str | None, preprocessing: str | None = None) -> "MedImageInsight":
    """Open the model that ``--model`` names."""
    from medimageinsight import MedImageInsight

    with error_context(model, BundleError):
        return MedImageInsight.load(model, preprocessing=preprocessing)  # type: ignore[arg-type]  # checked by load
