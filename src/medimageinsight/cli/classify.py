"""``mi2 classify``: probabilities of labels that are no more than texts, or of those that a store's images have."""

from typing import TYPE_CHECKING, Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.classify_store import classify_by_store
from medimageinsight.cli.failures import FAILED_INPUT
from medimageinsight.cli.found_sheet import Folders, Pictures
from medimageinsight.cli.learned import report_failures
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tables import print_probabilities
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def classify(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...", help="Images; folders are searched; - is standard input.", show_default=False
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="A B ...", help="The labels to choose from; they come after the files."),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="What a label's prompt looks like, as '{modality} {anatomy} {}' with {} for the label. "
            "Several are averaged."
        ),
    ] = None,
    modality: Annotated[str | None, typer.Option(help="For {modality}, as 'x-ray'.")] = None,
    anatomy: Annotated[str | None, typer.Option(help="For {anatomy}, as 'chest'.")] = None,
    view: Annotated[str | None, typer.Option(help="For {view}, as 'anteroposterior'.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Labels shown for each image; --json has all of them.")] = 5,
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Instead of --labels: a store, whose most similar images say their labels."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="With --store: the column of labels.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", "--k", min=1, help="With --store: how many images vote. Default: 10.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="With --store: a filter on the images that vote.")
    ] = None,
    pictures: Pictures = None,
    folder: Folders = None,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell which of the labels fits each image best, without any training for them.

    The labels exclude each other: an image that fits none of them still gets probabilities that sum to 1. With --store
    the most similar stored images vote with their labels, and are shown as the evidence.
    """
    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them before --labels", code="files_missing")
    of_labels = {
        "--labels": labels, "--template": template, "--modality": modality, "--anatomy": anatomy, "--view": view,
        "--preprocessing": preprocessing,
    }  # fmt: skip
    of_store = {
        "--label-column": label_column, "-k": k, "--where": where, "--pictures": pictures, "--folder": folder,
    }  # fmt: skip
    unused = _given(of_labels if store is not None else of_store)
    if unused and store is not None:
        raise InputError(
            f"expected no {unused[0]} with --store, whose images say the labels and how images are prepared: "
            "leave one of them out",
            code="classify_option_unused",
        )
    if unused:
        raise InputError(
            f"expected {unused[0]} with --store only: name a store, or leave it out", code="classify_option_unused"
        )
    if store is not None:
        if label_column is None:
            raise InputError("expected --label-column with --store, got none: name it", code="column_missing")
        classify_by_store(
            sources, store, label_column, k=k, where=where, pictures=pictures, folders=folder, frame=frame, model=model,
            top=top, as_json=as_json,
        )  # fmt: skip
        return
    if not labels:
        raise InputError("expected labels, got none: give them as --labels A B", code="labels_empty")
    given = {"modality": modality, "anatomy": anatomy, "view": view}
    fields = {name: value for name, value in given.items() if value is not None}
    loaded = load_model(model, preprocessing)
    with output.counting("classifying", len(sources)) as progress:
        found = loaded.classify(
            map(open_source, sources),
            labels,
            template=template or _template_of(fields),
            fields=fields,
            errors="return",
            frame=frame,
            progress=progress,
        )
    results = list(zip(sources, found, strict=True))
    failed = report_failures(results)
    print_probabilities(results, labels, top=top, as_json=as_json)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def _given(options: "Mapping[str, object]") -> list[str]:
    return [name for name, value in options.items() if value is not None and value != []]


def _template_of(fields: dict[str, str]) -> str | None:
    """The usual order of a prompt, of those parts that were given."""
    return " ".join([*(f"{{{name}}}" for name in fields), "{}"]) if fields else None
