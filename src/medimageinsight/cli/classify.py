"""``mi2 classify``: zero-shot probabilities of labels, or labels by the most similar images of a store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from medimageinsight.cli import output
from medimageinsight.cli.errors import error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    ContactSheet,
    Files,
    Frame,
    ImageFolders,
    Model,
    Percentiles,
    Preprocessing,
    Top,
    Window,
    choose_window,
    load_model,
    load_store,
)
from medimageinsight.cli.probability_table import check_table_name, write_probabilities
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import mark_lines, name_first_row, print_classified, print_results, warn_of_unknown
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.results import Classified
    from medimageinsight.cli.source_list import SourceList
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
ExcludeSame = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="With --store: images with the query's own value here do not vote. Default: its patient."
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE", help='Instead of --labels: JSON {"label": "prompt"}, or lists of prompts.'
    ),
]
OutputTable = Annotated[
    Path | None,
    typer.Option(metavar="TABLE.csv", help="Write the probabilities of all labels to this file instead of the screen."),
]


def classify(
    files: Files = None,
    labels: Labels = None,
    template: Template = None,
    modality: Modality = None,
    anatomy: Anatomy = None,
    view: View = None,
    prompts: PromptsFile = None,
    out: OutputTable = None,
    top: Top = 5,
    store: Store = None,
    label_column: StoreLabelColumn = None,
    k: K = None,
    where: Where = None,
    exclude_same: ExcludeSame = None,
    contact_sheet: ContactSheet = None,
    folder: ImageFolders = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Classify images by text labels, without any training for them.

    The probabilities of an image sum to 1, even if none of the labels fits it: the best cosine shows whether any does,
    and so does the mark of images unlike those that the model was checked on (`mi2 statistics`).

    With --store the most similar stored images vote with their labels, and are shown as the evidence; those of the
    image's own patient do not vote.
    """
    from medimageinsight.cli.source_list import SourceList

    reading.check_comparable()
    sources = SourceList(files or [], reading, frame=frame)
    if not sources:
        raise InputError("expected image files, got none: name them before --labels", code="files_missing")
    check_table_name(out)
    chosen = choose_window(window, percentiles)
    fields = {"modality": modality, "anatomy": anatomy, "view": view}
    if store is None:
        store_options = {
            "--label-column": label_column, "-k": k, "--where": where, "--contact-sheet": contact_sheet,
            "--folder": folder, "--exclude-same": exclude_same,
        }  # fmt: skip
        _refuse_options(store_options, "expected --store with {}, got none: name a store, or leave the option out")
        known = {name: value for name, value in fields.items() if value is not None}
        _classify_by_labels(
            sources, _choose_labels(labels, prompts, template, known), template=template, fields=known, top=top,
            out=out, as_json=as_json,
            load=partial(load_model, model, preprocessing, window=chosen, accept_maps=accept_maps),
        )  # fmt: skip
        return
    label_options = {"--labels": labels, "--template": template, "--prompts": prompts, "--preprocessing": preprocessing}
    _refuse_options(
        label_options | {f"--{name}": value for name, value in fields.items()},
        "expected no {} with --store, whose images give the labels and the preprocessing, got both: leave one out",
    )
    if label_column is None:
        raise InputError("expected --label-column with --store, got none: name it", code="column_missing")
    _classify_by_store(
        sources, store, label_column, k=DEFAULT_K if k is None else k, where=where, exclude_same=exclude_same,
        sheet=contact_sheet, folders=folder, out=out, top=top, window=chosen,
        load=partial(load_model, model, accept_maps=accept_maps), as_json=as_json,
    )  # fmt: skip


def _refuse_options(options: Mapping[str, object], message: str) -> None:
    """Refuse the first given option, which would be ignored; its name replaces {} in the message."""
    for name, value in options.items():
        if value is not None and value != []:
            raise InputError(message.format(name), code="classify_option_unused")


def _choose_labels(
    labels: list[str] | None, prompts: Path | None, template: list[str] | None, fields: Mapping[str, str]
) -> "list[str] | dict[str, list[str]]":
    """Return the labels, with their prompts if a file gives them."""
    from medimageinsight.tagging import read_prompts

    if prompts is None:
        return labels or []
    options = {"--labels": labels, "--template": template} | {f"--{name}": value for name, value in fields.items()}
    _refuse_options(options, "expected no {} with --prompts, whose texts are complete, got both: leave one out")
    with error_context(prompts):
        tags = read_prompts(prompts)
        if any(tag.negative for tag in tags.values()):
            raise InputError(
                "expected prompts of labels, got negative prompts, which are for mi2 tag: leave them out",
                code="classify_option_unused",
            )
    return {name: list(tag.positive) for name, tag in tags.items()}


def _classify_by_labels(
    sources: "SourceList",
    labels: "list[str] | dict[str, list[str]]",
    *,
    template: list[str] | None,
    fields: dict[str, str],
    top: int,
    out: Path | None,
    load: "Callable[[], MedImageInsight]",
    as_json: bool,
) -> None:
    """Classify images zero-shot and print the probabilities."""
    if not labels:
        raise InputError("expected labels, got none: give them as --labels A B", code="labels_empty")
    if not template and fields:
        template = [" ".join([*(f"{{{name}}}" for name in fields), "{}"])]  # the fields in their usual order
    loaded = load()
    with output.counting("classifying", sources.count) as progress:
        results = loaded.zero_shot(
            sources, labels, template=template or None, fields=fields, errors="return", progress=progress
        )
    warn_of_unknown(results)
    if out is not None:
        _write_table(out, sources.names, results)
    print_results(
        sources,
        results,
        lambda result: result.to_dict(),
        lambda succeeded: print_classified(succeeded, top) if out is None else None,
        as_json=as_json,
    )


def _classify_by_store(
    sources: "SourceList",
    store: str,
    label_column: str,
    *,
    k: int,
    where: str | None,
    exclude_same: str | None,
    sheet: Path | None,
    folders: Sequence[Path] | None,
    out: Path | None,
    top: int,
    window: str | None,
    load: "Callable[[], MedImageInsight]",
    as_json: bool,
) -> None:
    """Classify images by the most similar images of a store and print labels and evidence."""
    from medimageinsight.cli.contact_sheet import check_sheet
    from medimageinsight.search import classify

    allowed_folders = check_sheet(sheet, folders)
    images = list(sources)
    if sheet is not None and len(images) != 1:
        raise InputError(
            f"expected one image with --contact-sheet, which shows one query, got {len(images)}",
            code="pictures_of_several",
        )
    with load_store(store) as opened, output.counting("classifying", len(images)) as progress:
        results = classify(
            load(),
            opened,
            images,
            label=label_column,
            k=k,
            where=where,
            exclude_same=exclude_same,
            errors="return",
            window=window,
            progress=progress,
        )
        window = opened.identity.settings().window
    if sheet is not None and not isinstance(results[0], InputError):
        _save_evidence(sheet, sources.names[0], images[0], results[0], label_column, allowed_folders, window=window)
    if out is not None:
        _write_table(out, sources.names, results)
    print_results(
        sources,
        results,
        lambda result: result.to_dict(),
        lambda succeeded: _print_votes(succeeded, top) if out is None else None,
        as_json=as_json,
    )


def _write_table(out: Path, sources: Sequence[str], rows: "Sequence[Classified | InputError]") -> None:
    with error_context(out):
        write_probabilities(out, sources, rows)
    succeeded = sum(not isinstance(row, InputError) for row in rows)
    output.note(f"{succeeded:,} of {len(rows):,} classified: {out}")


def _save_evidence(
    sheet: Path,
    source: str,
    image: "Source",
    result: "StoreClassification",
    label_column: str,
    folders: Sequence[Path],
    *,
    window: str | None,
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
    query = query_card(output.printable(source), image=image, window=window, prompts=best)
    query = replace(query, lines=[*query.lines, *mark_lines(result.unlike_validation)])
    save_hits(sheet, query, cards, folders, title="What the most similar stored images are", window=window)


def _print_votes(results: "list[tuple[str, StoreClassification]]", top: int) -> None:
    """Print two tables: the best labels of each image, and the stored images that voted."""
    if excluded := sum(result.excluded for _, result in results):
        output.note(f"stored images that did not vote, as they are of the images' own patients: {excluded:,}")
    if not any(result.probabilities for _, result in results):
        others = " of another patient" if excluded else ""
        output.note(f"no stored image{others} has a label in the column and fits the filter")
        return
    print_classified(results, top)
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
    is_unknown = any(result.patients_unknown for _, result in results)
    output.print_table(
        ("source", "because of", "label", "score", "weight"),
        evidence,
        title=f"stored images that voted, {'patients unknown' if is_unknown else 'of other patients'}",
    )
