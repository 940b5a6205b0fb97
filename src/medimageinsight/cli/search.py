"""``mi2 search``: find the stored images nearest to an image, a text, a stored image or a vector."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    ContactSheet,
    Frame,
    ImageFolders,
    Model,
    Percentiles,
    StoreLocation,
    Where,
    Window,
    choose_window,
    load_model,
    load_store,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.errors import ImageError, InputError, TextError

if TYPE_CHECKING:
    from medimageinsight.search import Hit, HitGroup

QueryImage = Annotated[str | None, typer.Option(metavar="FILE", help="An image file; - is standard input.")]
QueryText = Annotated[str | None, typer.Option(help="A text, such as 'x-ray chest pneumonia'.")]
QueryId = Annotated[str | None, typer.Option("--id", help="The id of a stored image, which is included in the result.")]
QueryVector = Annotated[
    Path | None, typer.Option(metavar="F", help="One embedding, as mi2 embed --out writes it, or .npy (D,).")
]
K = Annotated[int, typer.Option("-k", "--k", min=1, help="The largest number of results.")]
MinScore = Annotated[float | None, typer.Option(help="The smallest cosine similarity of a result, -1 to 1.")]
Exact = Annotated[bool, typer.Option("--exact", help="Compare with every stored image, without the index.")]
ExcludeSame = Annotated[
    str | None,
    typer.Option(
        "--exclude-same",
        "--other-than-same",  # the name before 0.2
        metavar="COLUMN",
        help="With --id or --image: leave out images with the query's own value in this column, such as PatientID.",
    ),
]

GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="study|series|patient|COLUMN", help="One result, the best, for each study, series, patient or value."
    ),
]


def search(
    store: StoreLocation,
    image: QueryImage = None,
    text: QueryText = None,
    item_id: QueryId = None,
    vector: QueryVector = None,
    k: K = 10,
    where: Where = None,
    min_score: MinScore = None,
    exact: Exact = False,
    exclude_same: ExcludeSame = None,
    group_by: GroupBy = None,
    contact_sheet: ContactSheet = None,
    folder: ImageFolders = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find the stored images nearest to an image, a text, a stored image or a vector.

    A query image is prepared like the stored images; another --window is refused. Needs the extra 'search' or
    'postgres'.
    """
    from medimageinsight.cli.contact_sheet import HitCard, check_sheet, query_card, save_hits
    from medimageinsight.cli.source_list import SourceList
    from medimageinsight.search import read_vector, resolve_ids, search_groups
    from medimageinsight.search import search as search_store

    if (count := sum(query is not None for query in (image, text, item_id, vector))) != 1:
        raise InputError(
            f"expected one of --image, --text, --id and --vector, got {count} of them", code="query_invalid"
        )
    folders, chosen = check_sheet(contact_sheet, folder), choose_window(window, percentiles)
    reading.check_comparable()
    listed = None if image is None else SourceList([image], reading, frame=frame)
    source = None if listed is None else listed.only()
    with load_store(store) as opened, error_context(image, ImageError), error_context(text, TextError):
        loaded = load_model(model, accept_maps=accept_maps) if image is not None or text is not None else None
        with error_context(vector, (InputError, OSError)):
            query = None if vector is None else read_vector(vector, identity=opened.identity)
        arguments: dict[str, Any] = {
            "image": source, "text": text, "item_id": item_id, "vector": query, "window": chosen, "k": k,
            "where": where, "min_score": min_score, "exact": exact, "exclude_same": exclude_same,
        }  # fmt: skip
        groups = None if group_by is None else search_groups(loaded, opened, by=group_by, **arguments)
        hits = search_store(loaded, opened, **arguments) if groups is None else [group.hit for group in groups]
        shown_window = opened.identity.settings().window
        stored = None if item_id is None or contact_sheet is None else opened.get(resolve_ids(opened, [item_id]))[0]
    if contact_sheet is not None:
        card = query_card(
            "query", image=source, window=shown_window, stored=stored, folders=folders,
            note=text or "a vector",
        )  # fmt: skip
        cards = [HitCard(hit=hit) for hit in hits]
        save_hits(contact_sheet, card, cards, folders, title="The most similar stored images", window=shown_window)
    members_failed = listed is not None and listed.print_used()
    if as_json:
        parts = {} if listed is None else listed.used[0].to_json()
        output.print_json({"hits": [hit.to_dict() for hit in groups or hits], **parts})
    elif hits:
        _print_hits(hits, groups)
    else:
        output.note("nothing was found")
    if members_failed:
        raise typer.Exit(FAILED_INPUT)


def _print_hits(hits: "list[Hit]", groups: "list[HitGroup] | None") -> None:
    from medimageinsight.search.records import LEVEL_COLUMN, STUDY_COLUMNS

    found = dict.fromkeys(name for hit in hits for name in hit.metadata)
    columns = [name for name in found if name not in STUDY_COLUMNS or name == LEVEL_COLUMN]  # --json has all
    with_path = any(not hit.id.startswith(hit.path) for hit in hits)
    output.print_table(
        ("score", "id", *(["path"] if with_path else []), *([] if groups is None else ["more"]), *columns),
        [
            (
                f"{hit.score:.4f}",
                output.printable(hit.id),
                *([output.printable(hit.path)] if with_path else []),
                *([] if groups is None else [f"{groups[index].more:,}"]),
                *(output.printable(str(hit.metadata.get(name, ""))) for name in columns),
            )
            for index, hit in enumerate(hits)
        ],
    )
