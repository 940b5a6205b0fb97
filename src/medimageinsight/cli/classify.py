"""``mi2 classify``: zero-shot probabilities of labels, or labels by the most similar images of a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.labelled_tables import check_output_file, print_failed_sources
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
)
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tables import print_probabilities
from medimageinsight.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from medimageinsight.images import Source
    from medimageinsight.search import StoreClassification

DEFAULT_K = 10
_SHEET_LABELS = 3  # on the contact sheet

Labels = Annotated[
    list[str] | None, typer.Option(metavar="A B ...", help="The labels to choose from; they come after the files.")
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        help="The prompt of a label, as '{modality} {anatomy} {}' with {} for the label. Several are averaged."
    ),
]
Modality = Annotated[str | None, typer.Option(help="For {modality}, as 'x-ray'.")]
Anatomy = Annotated[str | None, typer.Option(help="For {anatomy}, as 'chest'.")]
View = Annotated[str | None, typer.Option(help="For {view}, as 'anteroposterior'.")]
Store = Annotated[
    str | None,
    typer.Option(metavar="STORE", help="Instead of --labels: a store, whose most similar images give the labels."),
]
StoreLabelColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="With --store: the column of labels.")]
K = Annotated[int | None, typer.Option("-k", "--k", min=1, help="With --store: how many images vote. Default: 10.")]
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

    The labels exclude each other: an image that fits none of them still gets probabilities that sum to 1. With --store
    the most similar stored images vote with their labels, and are shown as the evidence.
    """
    sources = list_sources(files or [])
    if not sources:
        raise InputError("expected image files, got none: name them before --labels", code="files_missing")
    fields = {"modality": modality, "anatomy": anatomy, "view": view}
    label_options = {
        "--labels": labels,
        "--template": template,
        **{f"--{name}": value for name, value in fields.items()},
    }
    store_options = {
        "--label-column": label_column, "-k": k, "--where": where, "--contact-sheet": contact_sheet, "--folder": folder,
    }  # fmt: skip
    if store is None:
        _refuse_store_options(store_options)
        known = {name: value for name, value in fields.items() if value is not None}
        _classify_by_labels(
            sources, labels or [], template=template, fields=known, top=top, frame=frame, preprocessing=preprocessing,
            model=model, as_json=as_json,
        )  # fmt: skip
        return
    _refuse_label_options(label_options | {"--preprocessing": preprocessing})
    if label_column is None:
        raise InputError("expected --label-column with --store, got none: name it", code="column_missing")
    _classify_by_store(
        sources, store, label_column, k=DEFAULT_K if k is None else k, where=where, sheet=contact_sheet, folders=folder,
        top=top, frame=frame, model=model, as_json=as_json,
    )  # fmt: skip


def _refuse_label_options(options: "Mapping[str, object]") -> None:
    for name in _used(options):
        raise InputError(
            f"expected no {name} with --store, whose images give the labels and the preprocessing: leave out either",
            code="classify_option_unused",
        )


def _refuse_store_options(options: "Mapping[str, object]") -> None:
    for name in _used(options):
        raise InputError(
            f"expected {name} with --store only: name a store, or leave it out", code="classify_option_unused"
        )


def _used(options: "Mapping[str, object]") -> list[str]:
    return [name for name, value in options.items() if value is not None and value != []]


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
    loaded = load_model(model, preprocessing)
    with output.counting("classifying", len(sources)) as progress:
        probabilities = loaded.classify(
            map(open_source, sources),
            labels,
            template=template or _default_template(fields),
            fields=fields,
            errors="return",
            frame=frame,
            progress=progress,
        )
    results = list(zip(sources, probabilities, strict=True))
    failed = print_failed_sources(results)
    print_probabilities(results, labels, top=top, as_json=as_json)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def _default_template(fields: dict[str, str]) -> str | None:
    """Return a template of the given fields in their usual order, followed by the label."""
    return " ".join([*(f"{{{name}}}" for name in fields), "{}"]) if fields else None


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
    from medimageinsight.cli.contact_sheet import check_folders, read_twice
    from medimageinsight.search import classify, open_store, redact_location

    readable = check_folders(sheet, folders)
    if sheet is not None:
        if len(sources) != 1:
            raise InputError(
                f"expected one image with --contact-sheet, which shows one query, got {len(sources)}",
                code="pictures_of_several",
            )
        check_output_file(sheet)
    with error_context(redact_location(store), StoreError):
        opened = open_store(store)
    image = None if sheet is None else read_twice(sources[0])
    with opened, output.counting("classifying", len(sources)) as progress:
        classified = classify(
            load_model(model),
            opened,
            map(open_source, sources) if image is None else [image],
            label=label_column,
            k=k,
            where=where,
            errors="return",
            frame=frame,
            progress=progress,
        )
    results = list(zip(sources, classified, strict=True))
    failed = print_failed_sources(results)
    answers = [(source, result) for source, result in results if not isinstance(result, InputError)]
    if sheet is not None and image is not None and answers:
        _save_evidence(sheet, sources[0], image, frame, answers[0][1], label_column, readable)
    if as_json:
        output.print_json([_to_dict(source, result) for source, result in results])
    else:
        _print_answers(answers, top)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def _save_evidence(
    sheet: Path,
    source: str,
    image: "Source",
    frame: int,
    answer: "StoreClassification",
    label_column: str,
    folders: Sequence[Path],
) -> None:
    """Draw the image with its best labels, and the stored images that voted."""
    from medimageinsight.cli.contact_sheet import HitCard, query_card, save_hits

    best = list(answer.probabilities.items())[:_SHEET_LABELS]
    cards = [
        HitCard(
            hit=neighbour.hit, lines=[f"{neighbour.label}, weight {neighbour.weight:.2f}"], shown_column=label_column
        )
        for neighbour in answer.neighbours
    ]
    query = query_card(output.printable(source), image=image, frame=frame, prompts=best)
    save_hits(sheet, query, cards, folders, title="What the most similar stored images are")


def _to_dict(source: str, result: "StoreClassification | InputError") -> dict[str, object]:
    if isinstance(result, InputError):
        return {"source": source, "error": result.to_dict()}
    return {"source": source, **result.to_dict()}


def _print_answers(answers: "list[tuple[str, StoreClassification]]", top: int) -> None:
    """Print two tables: the best labels of each image, and the stored images that voted."""
    labels = [(source, list(answer.probabilities.items())[:top]) for source, answer in answers]
    if not any(best for _, best in labels):
        if answers:
            output.note("no stored image has a label in the column and fits the filter")
        return
    output.print_table(
        ("source", "label", "probability", ""),
        [
            (_first_row(source, row), Text(output.printable(name)), output.bar(probability), f"{probability:.1%}")
            for source, best in labels
            for row, (name, probability) in enumerate(best)
        ],
    )
    evidence = [row for source, answer in answers for row in _evidence_rows(source, answer)]
    output.print_table(("source", "because of", "label", "score", "weight"), evidence)


def _evidence_rows(source: str, answer: "StoreClassification") -> "list[tuple[RenderableType, ...]]":
    return [
        (
            _first_row(source, row),
            Text(output.printable(neighbour.hit.id)),
            Text(output.printable(neighbour.label)),
            f"{neighbour.hit.score:.4f}",
            f"{neighbour.weight:.3f}",
        )
        for row, neighbour in enumerate(answer.neighbours)
    ]


def _first_row(source: str, row: int) -> Text:
    """Return the source's name in its first row, else nothing."""
    return Text(output.printable(source) if row == 0 else "")
