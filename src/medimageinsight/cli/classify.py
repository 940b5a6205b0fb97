"""``mi2 classify``: probabilities of labels that are no more than texts, or of those that a store's images have."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.contact_sheet import Folders, Found, Pictures, check_folders, query_card, reread, save_sheet
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.loading import check_out, report_failures
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.sources import list_sources, open_source
from medimageinsight.cli.tables import print_probabilities
from medimageinsight.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medimageinsight.search import StoreAnswer


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


K = 10
_SHOWN_LABELS = 3  # on the sheet


def classify_by_store(
    sources: list[str],
    store: str,
    label: str,
    *,
    k: int | None,
    where: str | None,
    pictures: Path | None,
    folders: Sequence[Path] | None,
    frame: int,
    model: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Label images by a store and print the answers; options are those of `classify`."""
    from medimageinsight.search import classify, open_store, shown_location

    readable = check_folders(pictures, folders)
    if pictures is not None:
        if len(sources) != 1:
            raise InputError(
                f"expected one image with --pictures, whose sheet is about one, got {len(sources)}",
                code="pictures_of_several",
            )
        check_out(pictures)
    with error_context(shown_location(store), StoreError):
        opened = open_store(store)
    image = None if pictures is None else reread(sources[0])
    with opened, output.counting("classifying", len(sources)) as progress:
        found = classify(
            load_model(model),
            opened,
            map(open_source, sources) if image is None else [image],
            label=label,
            k=K if k is None else k,
            where=where,
            errors="return",
            frame=frame,
            progress=progress,
        )
    results = list(zip(sources, found, strict=True))
    failed = report_failures(results)
    for source, one in results:
        if pictures is not None and not isinstance(one, InputError):
            best = list(one.probabilities.items())[:_SHOWN_LABELS]
            query = query_card(output.printable(source), image=image, frame=frame, prompts=best)
            cards = [
                Found(hit=each.hit, lines=[f"{each.label}, weight {each.weight:.2f}"], said=label)
                for each in one.neighbours
            ]
            save_sheet(pictures, query, cards, readable, title="What the most similar stored images are")
    if as_json:
        output.print_json([_document(source, one) for source, one in results])
    else:
        _print([(source, one) for source, one in results if not isinstance(one, InputError)], top)
    if failed:
        raise typer.Exit(FAILED_INPUT)


def _document(source: str, found: "StoreAnswer | InputError") -> dict[str, object]:
    if isinstance(found, InputError):
        return {"source": source, "error": found.to_dict()}
    return {"source": source, **found.to_dict()}


def _print(answers: "list[tuple[str, StoreAnswer]]", top: int) -> None:
    """Two tables: the best labels of each image, and who voted for them."""
    labels = [(source, list(one.probabilities.items())[:top]) for source, one in answers]
    evidence = [row for source, one in answers for row in _evidence(source, one)]
    if not any(best for _, best in labels):
        if answers:
            output.note("no stored image has a label in the column and fits the filter")
        return
    output.print_table(
        ("source", "label", "probability", ""),
        [
            (_once(source, place), Text(output.printable(name)), output.bar(chance), f"{chance:.1%}")
            for source, best in labels
            for place, (name, chance) in enumerate(best)
        ],
    )
    output.print_table(("source", "because of", "label", "score", "weight"), evidence)


def _evidence(source: str, answer: "StoreAnswer") -> list[tuple[RenderableType, ...]]:
    return [
        (
            _once(source, place),
            Text(output.printable(one.hit.id)),
            Text(output.printable(one.label)),
            f"{one.hit.score:.4f}",
            f"{one.weight:.3f}",
        )
        for place, one in enumerate(answer.neighbours)
    ]


def _once(source: str, place: int) -> Text:
    """The source's name in its first row only."""
    return Text(output.printable(source) if place == 0 else "")
