"""``mi2 classify``: probabilities of labels that are no more than texts."""

from typing import Annotated

import typer

from medimageinsight.cli import output
from medimageinsight.cli.failures import FAILED_INPUT
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tables import print_probabilities
from medimageinsight.errors import InputError


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
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell which of the labels fits each image best, without any training for them.

    The labels exclude each other: an image that fits none of them still gets probabilities that sum to 1.
    """
    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them before --labels", code="files_missing")
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
    failures = [(source, one) for source, one in results if isinstance(one, InputError)]
    for source, error in failures:
        output.error(error.message, source=source)
    print_probabilities(results, labels, top=top, as_json=as_json)
    if failures:
        raise typer.Exit(FAILED_INPUT)


def _template_of(fields: dict[str, str]) -> str | None:
    """The usual order of a prompt, of those parts that were given."""
    return " ".join([*(f"{{{name}}}" for name in fields), "{}"]) if fields else None
