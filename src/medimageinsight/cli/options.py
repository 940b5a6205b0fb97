"""Options that several verbs share, and what they name: a model, a store, a file to write."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli.errors import error_context
from medimageinsight.errors import BundleError, InputError, StoreError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.search import PlannedStore, Store

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
Window = Annotated[
    str | None,
    typer.Option(
        metavar="CENTER/WIDTH|NAME|INDEX",
        help="Range of grey values of images of more than 8 bits: 40/400, lung, bone, ..., or one of the file's own "
        "windows, from 0. Default: the file's own.",
    ),
]
Percentiles = Annotated[
    str | None,
    typer.Option(metavar="LOW,HIGH", help="Instead of --window: percentiles of the grey values, such as 1,99."),
]
AcceptMaps = Annotated[
    bool,
    typer.Option("--accept-maps", help="Accept segmentations, dose grids and parametric maps, refused by default."),
]
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
    Path,
    typer.Argument(
        metavar="TABLE",
        help="A .csv, .tsv, .txt or .parquet file with one row for each image, or a MedMNIST file (.npz).",
    ),
]
LabelColumn = Annotated[str, typer.Option(metavar="COLUMN", help="The table's column with the labels.")]
Separator = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Text between several labels of an image, such as '|'. Default: a cell is one label."
    ),
]
LabelNames = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...|FILE.json",
        help="Names of the labels of a MedMNIST file (.npz), in the order of their numbers. Default: the numbers.",
    ),
]
SourceName = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Use only rows with this value of the column source; repeatable."),
]
PathColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The table's column with the images' paths. Default: path, else image."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="The folder that the table's paths are relative to, or below. Default: the table's."
    ),
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


def choose_window(window: str | None, percentiles: str | None) -> str | None:
    """Return the canonical text of the window that ``--window`` or ``--percentiles`` names; None without either.

    Raises:
        InputError: ``window_invalid``, also for both options.
    """
    from medimageinsight.images import parse_window

    if window is not None and percentiles is not None:
        raise InputError("expected --window or --percentiles, got both: leave one out", code="window_invalid")
    if percentiles is not None:
        low, comma, high = percentiles.partition(",")
        if not comma:
            raise InputError("expected --percentiles as LOW,HIGH, such as 1,99, got no comma", code="window_invalid")
        window = f"{low}%-{high}%"
    return None if window is None else str(parse_window(window))


def load_model(
    model: str | None, preprocessing: str | None = None, *, window: str | None = None, accept_maps: bool = False
) -> "MedImageInsight":
    """Open the model that ``--model`` names; the window is that of `choose_window`."""
    from medimageinsight import MedImageInsight
    from medimageinsight.images import Limits

    with error_context(model, BundleError):
        return MedImageInsight.load(
            model,
            preprocessing=preprocessing,  # type: ignore[arg-type]  # checked by load
            window=window,
            limits=Limits(accept_maps=accept_maps),
        )


def load_model_of(identity: "ModelIdentity", model: str | None, *, accept_maps: bool = False) -> "MedImageInsight":
    """Open a model with the preprocessing of the images that an adapter or tagger was fitted to."""
    steps, window = (identity.preprocessing.get(name) for name in ("default", "window"))
    return load_model(model, steps, window=window, accept_maps=accept_maps)


def load_store(location: str) -> "Store":
    """Open the store at a location; errors name the location without its password."""
    from medimageinsight.search import open_store

    with store_context(location):
        return open_store(location)


def open_or_plan(
    location: str, model: str | None, preprocessing: str | None, *, window: str | None, accept_maps: bool
) -> "tuple[MedImageInsight, Store | PlannedStore]":
    """Return the model and the store; an existing store's preprocessing is the default."""
    from medimageinsight.search import Identity, PlannedStore, open_store

    try:
        opened = open_store(location)
    except StoreError as error:
        if error.code != "store_not_found":
            raise
        loaded = load_model(model, preprocessing, window=window, accept_maps=accept_maps)
        return loaded, PlannedStore(location, identity=Identity.of(loaded))
    settings = opened.identity.settings()
    loaded = load_model(
        model, preprocessing or settings.default, window=window or settings.window, accept_maps=accept_maps
    )
    return loaded, opened


def store_context(location: str) -> "AbstractContextManager[None]":
    """Name the store, without a password, in its errors."""
    from medimageinsight.search import redact_location

    return error_context(redact_location(location), StoreError)


def check_output_file(out: Path) -> None:
    """Refuse a file that cannot be written, before hours of work on its content."""
    with error_context(out):
        if not out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
