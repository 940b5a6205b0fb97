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
    Path, typer.Argument(metavar="TABLE|FOLDER", help="Images that the model was not trained on, with captions.")
]
Split = Annotated[
    str | None, typer.Option(help="With a table: the split to use. Default: val, or all images if the table has none.")
]
Template = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="With a folder of one folder per label: the caption, with {} for the label."),
]
DEFAULT_SPLIT = "val"


def statistics(
    bundle: BundleFolder,
    images: Images,
    split: Split = None,
    template: Template = None,
    preprocessing: Preprocessing = None,
    as_json: AsJson = False,
) -> None:
    """Store in a bundle what its validation images look like to it, so that images unlike them are marked.

    The best cosines of images and captions, distances to centroids of the images, and the cosine of altered copies.
    """
    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import read_folder, read_table
    from medimageinsight.export import measure_statistics, store_statistics
    from medimageinsight.export.validation_statistics import describe_table

    if template is not None and not images.is_dir():
        raise InputError(
            "expected --template with a folder, got a table, which has its own captions: leave it out",
            code="template_unused",
        )
    with error_context(bundle, BundleError):
        opened = Bundle.open(bundle)
    with error_context(images, DatasetError):
        table = read_folder(images, template=template or "{}") if images.is_dir() else read_table(images)
        measured = DEFAULT_SPLIT if split is None and DEFAULT_SPLIT in table.splits else split
        chosen = table if measured is None else table.of_split(measured)
        model = load_model(str(opened.folder), preprocessing)
        with model, output.counting("embedding", len(chosen)) as progress:
            found = measure_statistics(model, table, split=measured, progress=progress)
    found = describe_table(found, str(images))
    with error_context(bundle, BundleError):
        store_statistics(opened, found)
    if as_json:
        output.print_json({"bundle": str(bundle), "statistics": found.summary()})
        return
    output.print_table(
        ("validation statistics", ""),
        [
            ("images", f"{found.cosine.count:,} ({found.data['unread']:,} cannot be read)"),
            ("patients unknown", f"{found.data['patients_unknown']:,}"),
            ("texts", f"{found.data['texts']:,}"),
            ("best cosine, 1 % quantile", f"{found.cosine.at(0.01):.3f}"),
            ("distance to the nearest centroid, 99 % quantile", f"{found.distance.at(0.99):.3f}"),
            ("centroids", f"{len(found.centroids):,}"),
            ("cosine of altered copies", "–" if found.copy_cosine is None else f"{found.copy_cosine:.4f}"),
        ],
    )
    output.note(f"stored in {bundle}")
