"""``mi2 classify``: zero-shot probabilities of labels, or labels by the most similar images of a store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.options import (
    AsJson,
    ContactSheet,
    Files,
    Frame,
    ImageFolders,
    Model,
    Preprocessing,
    Top,
    load_model,
    load_store,
)
from medimageinsight.cli.results import name_first_row, print_probabilities, print_ranked_labels, print_results
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.images import Source
    from medimageinsight.search import StoreClassification

DEFAULT_K = 10
SHEET_LABELS = 3  # on the contact sheet

Labels = Annotated[
    list[str] | None, typer.Option(metavar="A B ...", help="The labels to choose from; they come after the files.")
]
Template = Annotated[
    list[str] | None,
    typer.Option(help="The text to embed for the label {}, as '{modality} {anatomy} {}'. Several are averaged."),
]
Modality = Annotated[str | None, typer.Option(help="Replaces {modality} in the template, as 'x-ray'.")]
Anatomy = Annotated[str | None, typer.Option(help="Replaces {anatomy}, as 'chest'.")]
View = Annotated[str | None, typer.Option(help="Replaces {view}, as 'anteroposterior'.")]
Store = Annotated[
    str | None, typer.Option(metavar="STORE", help="Instead of --labels: a store of labelled images (`mi2 index`).")
]
StoreLabelColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="With --store: the column with the labels.")
]
K = Annotated[
    int | None, typer.Option("-k", "--k", min=1, help="With --store: the number of images that vote. Default: 10.")
]
Where = Annotated[str | None, typer.Option(metavar="EXPR", help="With --store: a filter on the images that vote.")]


def classify(
    files: Files = None,
    labels: Labels = None,
    template: Template = None,
    modality: Modality = None,
    anatomy: Anatomy = None,
    view: View = None,
    top: Top = 5,
    store: Store = None,
    label_column: StoreLabelColumn = None,
    k: K = None,
    where: Where = None,
    contact_sheet: ContactSheet = None,
    folder: ImageFolders = None,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Classify images by text labels, without any training for them.

    The probabilities of an image sum to 1, even if none of the labels fits it. With --store the most similar stored
    images vote with their labels, and are shown as the evidence.
    """
    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them before --labels", code="files_missing")
    fields = {"modality": modality, "anatomy": anatomy, "view": view}
    if store is None:
        store_options = {
            "--label-column": label_column, "-k": k, "--where": where, "--contact-sheet": contact_sheet,
            "--folder": folder,
        }  # fmt: skip
        _refuse_options(store_options, "expected --store with {}, got none: name a store, or leave the option out")
        known = {name: value for name, value in fields.items() if value is not None}
        _classify_by_labels(
            sources, labels or [], template=template, fields=known, top=top, frame=frame, preprocessing=preprocessing,
            model=model, as_json=as_json,
        )  # fmt: skip
        return
    label_options = {"--labels": labels, "--template": template, "--preprocessing": preprocessing}
    _refuse_options(
        label_options | {f"--{name}": value for name, value in fields.items()},
        "expected no {} with --store, whose images give the labels and the preprocessing, got both: leave one out",
    )
    if label_column is None:
        raise InputError("expected --label-column with --store, got none: name it", code="column_missing")
    _classify_by_store(
        sources, store, label_column, k=DEFAULT_K if k is None else k, where=where, sheet=contact_sheet, folders=folder,
        top=top, frame=frame, model=model, as_json=as_json,
    )  # fmt: skip


def _refuse_options(options: Mapping[str, object], message: str) -> None:
    """Refuse the first given option, which would be ignored; its name replaces {} in the message."""
    for name, value in options.items():
        if value is not None and value != []:
            raise InputError(message.format(name), code="classify_option_unused")


def _classify_by_labels(
    sources: list[str],
    labels: list[str],
    *,
    template: list[str] | None,
    fields: dict[str, str],
    top: int,
    frame: int,
    preprocessing: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Classify images zero-shot and print the probabilities."""
    if not labels:
        raise InputError("expected labels, got none: give them as --labels A B", code="labels_empty")
    if not template and fields:
        template = [" ".join([*(f"{{{name}}}" for name in fields), "{}"])]  # the fields in their usual order
    loaded = load_model(model, preprocessing)
    with output.counting("classifying", len(sources)) as progress:
        probabilities = loaded.classify(
            map(open_source, sources),
            labels,
            template=template or None,
            fields=fields,
            errors="return",
            frame=frame,
            progress=progress,
        )
    print_probabilities(sources, probabilities, labels, top=top, as_json=as_json)


def _classify_by_store(
    sources: list[str],
    store: str,
    label_column: str,
    *,
    k: int,
    where: str | None,
    sheet: Path | None,
    folders: Sequence[Path] | None,
    top: int,
    frame: int,
    model: str | None,
    as_json: bool,
) -> None:
    """Classify images by the most similar images of a store and print labels and evidence."""
    from medimageinsight.cli.contact_sheet import check_sheet, rereadable_source
    from medimageinsight.search import classify

    allowed_folders = check_sheet(sheet, folders)
    if sheet is not None and len(sources) != 1:
        raise InputError(
            f"expected one image with --contact-sheet, which shows one query, got {len(sources)}",
            code="pictures_of_several",
        )
    images = list(map(open_source if sheet is None else rereadable_source, sources))
    with load_store(store) as opened, output.counting("classifying", len(sources)) as progress:
        results = classify(
            load_model(model),
            opened,
            images,
            label=label_column,
            k=k,
            where=where,
            errors="return",
            frame=frame,
            progress=progress,
        )
    if sheet is not None and not isinstance(results[0], InputError):
        _save_evidence(sheet, sources[0], images[0], frame, results[0], label_column, allowed_folders)
    print_results(
        sources,
        results,
        lambda result: result.to_dict(),
        lambda succeeded: _print_votes(succeeded, top),
        as_json=as_json,
    )


def _save_evidence(
    sheet: Path,
    source: str,
    image: "Source",
    frame: int,
    result: "StoreClassification",
    label_column: str,
    folders: Sequence[Path],
) -> None:
    """Draw the image with its best labels, and the stored images that voted."""
    from medimageinsight.cli.contact_sheet import HitCard, query_card, save_hits

    best = list(result.probabilities.items())[:SHEET_LABELS]
    cards = [
        HitCard(
            hit=neighbour.hit, lines=[f"{neighbour.label}, weight {neighbour.weight:.2f}"], shown_column=label_column
        )
        for neighbour in result.neighbours
    ]
    query = query_card(output.printable(source), image=image, frame=frame, prompts=best)
    save_hits(sheet, query, cards, folders, title="What the most similar stored images are")


def _print_votes(results: "list[tuple[str, StoreClassification]]", top: int) -> None:
    """Print two tables: the best labels of each image, and the stored images that voted."""
    ranked = [(source, list(result.probabilities.items())[:top]) for source, result in results]
    if not any(labels for _, labels in ranked):
        output.note("no stored image has a label in the column and fits the filter")
        return
    print_ranked_labels(ranked)
    evidence = [
        row
        for source, result in results
        for row in name_first_row(
            source,
            [
                (
                    Text(output.printable(neighbour.hit.id)),
                    Text(output.printable(neighbour.label)),
                    f"{neighbour.hit.score:.4f}",
                    f"{neighbour.weight:.3f}",
                )
                for neighbour in result.neighbours
            ],
        )
    ]
    output.print_table(("source", "because of", "label", "score", "weight"), evidence)
