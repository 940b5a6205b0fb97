"""``mi2 statistics``: measure how validation images look to a model, and store it in the bundle."""

from pathlib import Path
from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import AsJson, Preprocessing, load_model
from medimageinsight.errors import BundleError, DatasetError, InputError

BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder, where the statistics are stored.")
]
Images = Annotated[
    list[Path], typer.Argument(metavar="TABLE|FOLDER...", help="Images that the model was not trained on.")
]
Split = Annotated[
    str | None, typer.Option(help="With a table: the split to use. Default: val, or all images if the table has none.")
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="With a folder of one folder per label: the caption, with {} for the label."),
]
Level = Annotated[
    float, typer.Option(help="The part of images like these that may be marked wrongly, above 0 and below 0.1.")
]
DEFAULT_SPLIT = "val"
DEFAULT_LEVEL = 0.01


def statistics(
    bundle: BundleFolder,
    images: Images,
    split: Split = None,
    template: Template = None,
    level: Level = DEFAULT_LEVEL,
    preprocessing: Preprocessing = None,
    as_json: AsJson = False,
) -> None:
    """Store in a bundle what its validation images look like to it, so that images unlike them are marked.

    Groups of the images' embeddings, the score above which an image is marked, and the cosine of altered copies.
    Images of the same source, modality, anatomy and view form a group; without such columns, those of the same caption.
    """
    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import join_tables, read_folder, read_table
    from medimageinsight.export import measure_statistics, store_statistics
    from medimageinsight.export.validation_statistics import describe_table

    if template is not None and not all(path.is_dir() for path in images):
        raise InputError(
            "expected --template with a folder, got a table, which has its own captions: leave it out",
            code="template_unused",
        )
    with error_context(bundle, BundleError):
        opened = Bundle.open(bundle)
    tables = []
    for path in images:
        with error_context(path, DatasetError):
            tables.append(read_folder(path, template=template or "{}") if path.is_dir() else read_table(path))
    named = ", ".join(path.name for path in images)
    with error_context(named, DatasetError):
        table = join_tables(tables)
        measured = DEFAULT_SPLIT if split is None and DEFAULT_SPLIT in table.splits else split
        chosen = table if measured is None else table.of_split(measured)
        model = load_model(str(opened.folder), preprocessing)
        with model, output.counting("embedding", len(chosen)) as progress:
            found = measure_statistics(model, table, split=measured, level=level, progress=progress)
    found = describe_table(found, named)
    with error_context(bundle, BundleError):
        store_statistics(opened, found)
    if as_json:
        output.print_json({"bundle": str(bundle), "statistics": found.summary()})
        return
    output.print_table(
        ("validation statistics", ""),
        [
            ("images", f"{found.images:,} ({found.data['unread']:,} cannot be read)"),
            ("patients unknown", f"{found.data['patients_unknown']:,}"),
            ("groups", f"{len(found.groups.means):,}"),
            ("marked above a score of", f"{found.threshold:.2f}"),
            ("expected false marks", f"{found.level:.1%}"),
            ("cosine of altered copies", "–" if found.copy_cosine is None else f"{found.copy_cosine:.4f}"),
        ],
    )
    output.note(f"stored in {bundle}")
