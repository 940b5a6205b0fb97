"""``mi2 index``: create, fill and maintain a store of image embeddings."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT
from medimageinsight.cli.index_add import add
from medimageinsight.cli.index_duplicates import duplicates
from medimageinsight.cli.index_sync import prune, sync
from medimageinsight.cli.options import AsJson, StoreLocation, Where, load_store
from medimageinsight.cli.verbs import register
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from medimageinsight.search import Recall, StoreInfo

app = typer.Typer(
    help="Create and maintain a store of image embeddings: a folder, or a PostgreSQL database with pgvector.",
    no_args_is_help=True,
)


def info(
    store: StoreLocation,
    recall: Annotated[
        bool, typer.Option("--recall", help="Measure the fraction of exact results that the index finds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the number of images, the columns, the model and the index of a store."""
    from medimageinsight.search import measure_recall

    with load_store(store) as opened:
        store_info = opened.info()
        measured_recall = measure_recall(opened) if recall else None
    if as_json:
        document: dict[str, Any] = store_info.to_dict()
        output.print_json(document if measured_recall is None else {**document, "recall": vars(measured_recall)})
    else:
        output.print_table((store_info.kind, ""), _info_rows(store_info, measured_recall))


def compact(store: StoreLocation, as_json: AsJson = False) -> None:
    """Merge small files, add new images to the index, and erase deleted images from the disk."""
    with load_store(store) as opened:
        opened.compact()
        store_info = opened.info()
    _print_result(store_info.to_dict(), f"{store_info.count:,} images", as_json=as_json)


def build(store: StoreLocation, as_json: AsJson = False) -> None:
    """Build the search index again; `mi2 index add` builds it as soon as a store is large enough."""
    with load_store(store) as opened:
        opened.build_index()
        store_info = opened.info()
    _print_result(store_info.to_dict(), f"{store_info.count:,} images indexed", as_json=as_json)


def delete(
    store: StoreLocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", show_default=False)] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Delete images by their ids, or those that match a filter; `mi2 index compact` then erases them from the disk."""
    if bool(ids) == (where is not None):
        got = "both" if ids else "neither"
        raise InputError(f"expected ids or --where, got {got}: choose what to delete", code="delete_what")
    from medimageinsight.search import resolve_ids

    with load_store(store) as opened:
        count = opened.delete(resolve_ids(opened, ids) if ids else None, where=where)
    _print_result({"deleted": count}, f"{count:,} deleted", as_json=as_json)
    if ids and count < len(set(ids)):
        output.error(
            f"expected ids of the store, got {len(set(ids)) - count:,} that it does not have: check their spelling"
        )
        raise typer.Exit(FAILED_INPUT)


for verb in (add, sync, info, compact, build, delete, prune, duplicates):
    register(app, verb, group="index")


def _info_rows(store_info: "StoreInfo", recall: "Recall | None") -> list[tuple[str, str]]:
    identity, index = store_info.identity, store_info.index
    rows = [
        ("images", f"{store_info.count:,}"),
        ("model", f"{identity.model} {identity.precision}, {identity.embedding_dim} numbers"),
        ("preprocessing", identity.describe_preprocessing().removeprefix("preprocessing ")),
        ("columns", ", ".join(f"{name} ({kind})" for name, kind in store_info.columns.items()) or "none"),
        ("index", "none, every search is exact" if index is None else f"{index.kind}, {index.indexed:,} images"),
    ]
    if index is not None and index.unindexed:
        rows.append(("outside the index", f"{index.unindexed:,} images, searched exactly"))
    if recall is not None:
        rows += [
            (f"recall at {recall.k}", f"{recall.recall:.4f} of {recall.queries} stored images"),
            ("a search", f"{recall.index_ms:.1f} ms, exact {recall.exact_ms:.1f} ms (medians)"),
        ]
    return rows


def _print_result(document: dict[str, Any], message: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(document)
    else:
        output.note(message)
