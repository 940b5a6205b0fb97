"""``mi2 index``: a store of image embeddings, filled and looked after."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context, reported
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, load_model
from medimageinsight.cli.search import StoreName, Where
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import DatasetError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import IndexReport, MetadataTable, Store
    from medimageinsight.search import MetadataSource

app = typer.Typer(
    help="Keep image embeddings in a store to search: a folder, or a PostgreSQL database with pgvector.",
    no_args_is_help=True,
)
_ID_SOURCES = ("path", "name", "stem", "table")


def add(
    store: StoreName,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE|FOLDER...", help="Images; folders are searched.", show_default=False)
    ],
    metadata: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="A .csv or .parquet file with a column path, relative to the table."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column of the table to keep; may come several times. Default: all.")
    ] = None,
    dicom_tags: Annotated[
        bool, typer.Option("--dicom-tags", help="Keep what DICOM files say of modality, body part, view, age and sex.")
    ] = False,
    patient_id: Annotated[
        str, typer.Option(metavar="none|hashed|plain", help="Whether --dicom-tags keeps the PatientID, and how.")
    ] = "none",
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="FOLDER/LABEL/... gives the column label.")
    ] = False,
    id_from: Annotated[
        str,
        typer.Option(metavar="|".join(_ID_SOURCES), help="What an image's id is; table: the table's column id."),
    ] = "path",
    update: Annotated[bool, typer.Option("--update", help="Replace images that are in the store already.")] = False,
    skip: Annotated[
        bool, typer.Option("--skip-existing", help="Leave images that are in the store already as they are.")
    ] = False,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed images and add them to a store, which is made if there is none.

    What was stored stays, whatever happens: a call that was cut off goes on with --skip-existing. The store remembers
    the model and its preprocessing and refuses others.
    """
    from medimageinsight.search import index_images, redact_location
    from medimageinsight.search.dicom_metadata import check_patient_identity

    check_patient_identity(patient_id)
    if update and skip:
        raise InputError("expected --update or --skip-existing, got both: choose one", code="existing_invalid")
    if patient_id != "none" and not dicom_tags:
        raise InputError(
            "expected --dicom-tags with --patient-id: it is read from DICOM files", code="patient_id_alone"
        )
    if (column or id_from == "table") and metadata is None:
        raise InputError("expected --metadata with --column and --id-from table", code="metadata_missing")
    sources = list_sources(files)
    with error_context(redact_location(store), StoreError):
        loaded, opened = _open(store, model, preprocessing)
    with opened:
        table = None if metadata is None else _read_table(metadata, opened, column)
        describe = _describe(opened, files, table, labels=labels_from_folders, tags=dicom_tags, patient=patient_id)
        with output.counting("indexing", len(sources)) as progress, error_context(redact_location(store), StoreError):
            report = index_images(
                loaded,
                opened,
                sources,
                ids=_ids(sources, id_from, table),
                metadata=describe,
                existing="update" if update else "skip" if skip else "refuse",
                frame=frame,
                progress=progress,
            )
        _tell(report, opened.count(), described=bool(describe), as_json=as_json)
    if report.failed:
        raise typer.Exit(FAILED_INPUT)


def info(
    store: StoreName,
    recall: Annotated[
        bool, typer.Option("--recall", help="Measure how much of the exact answer the index finds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a store holds, and what made its vectors."""
    from medimageinsight.search import measure_recall

    with _opened(store) as opened:
        described = opened.info()
        measured = measure_recall(opened) if recall else None
    if as_json:
        document: dict[str, Any] = described.to_dict()
        output.print_json(document if measured is None else {**document, "recall": vars(measured)})
        return
    identity, index = described.identity, described.index
    rows = [
        ("images", f"{described.count:,}"),
        ("model", f"{identity.model} {identity.precision}, {identity.embedding_dim} numbers"),
        ("preprocessing", str(identity.preprocessing["default"])),
        ("columns", ", ".join(f"{name} ({kind})" for name, kind in described.columns.items()) or "none"),
        ("index", "none, every search is exact" if index is None else f"{index.kind}, {index.indexed:,} images"),
    ]
    if index is not None and index.unindexed:
        rows.append(("outside the index", f"{index.unindexed:,} images, searched exactly"))
    if measured is not None:
        rows += [
            (f"recall at {measured.k}", f"{measured.recall:.4f} of {measured.queries} stored images"),
            ("a search", f"{measured.index_ms:.1f} ms, exact {measured.exact_ms:.1f} ms (medians)"),
        ]
    output.print_table((described.kind, ""), rows)


def compact(store: StoreName, as_json: AsJson = False) -> None:
    """Join small files, put new images into the index, and remove deleted ones from the disk."""
    with _opened(store) as opened:
        opened.compact()
        described = opened.info()
    _finish(described.to_dict(), f"{described.count:,} images", as_json=as_json)


def build(store: StoreName, as_json: AsJson = False) -> None:
    """Build the index anew; add does so by itself when a store is large enough for one to pay."""
    with _opened(store) as opened:
        opened.build_index()
        described = opened.info()
    _finish(described.to_dict(), f"{described.count:,} images indexed", as_json=as_json)


def delete(
    store: StoreName,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", show_default=False)] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Delete images by their ids, or those that a filter finds. Compact removes them from the disk too."""
    if bool(ids) == (where is not None):
        raise InputError("expected ids or --where, got both or neither: say what to delete", code="delete_what")
    with _opened(store) as opened:
        count = opened.delete(ids or None, where=where)
    _finish({"deleted": count}, f"{count:,} deleted", as_json=as_json)
    if ids and count < len(set(ids)):
        output.error(f"expected ids of the store, {len(set(ids)) - count:,} are not: check their spelling")
        raise typer.Exit(FAILED_INPUT)


def duplicates(
    store: StoreName,
    threshold: Annotated[float, typer.Option(help="The smallest cosine similarity of a pair, above 0.")] = 0.99,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="How many pairs at most, the nearest.")] = 1000,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster in large stores; misses some pairs near the threshold.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find pairs of stored images that are nearly the same, nearest first."""
    from medimageinsight.search import find_duplicates

    with _opened(store) as opened:
        pairs = find_duplicates(opened, threshold, where=where, limit=limit, approximate=approximate)
    if as_json:
        output.print_json({"pairs": [vars(pair) for pair in pairs]})
    elif pairs:
        rows = [(f"{pair.score:.4f}", output.printable(pair.a), output.printable(pair.b)) for pair in pairs]
        output.print_table(("score", "a", "b"), rows)
    else:
        output.note("no pairs were found")


for verb in (add, info, compact, build, delete, duplicates):
    app.command()(reported(verb))


def _opened(location: str) -> "Store":
    from medimageinsight.search import open_store, redact_location

    with error_context(redact_location(location), StoreError):
        return open_store(location)


def _open(location: str, model: str | None, preprocessing: str | None) -> "tuple[MedImageInsight, Store]":
    """The store, new or old, and its model; an old one's preprocessing is taken where none is asked for."""
    from medimageinsight.search import Identity, create_store, open_store

    try:
        opened = open_store(location)
    except StoreError as error:
        if error.code != "store_not_found":
            raise
        loaded = load_model(model, preprocessing)
        return loaded, create_store(location, identity=Identity.of(loaded))
    return load_model(model, preprocessing or str(opened.identity.preprocessing["default"])), opened


def _read_table(file: Path, store: "Store", columns: "Sequence[str] | None") -> "MetadataTable":
    from medimageinsight.search import read_metadata

    with error_context(file, (DatasetError, InputError)):
        return read_metadata(file, columns=columns, types=store.columns)


def _describe(
    store: "Store", names: "Sequence[str]", table: "MetadataTable | None", *, labels: bool, tags: bool, patient: str
) -> "list[MetadataSource]":
    """What says something about an image."""
    from medimageinsight.search import read_dicom_metadata

    describe: list[MetadataSource] = [] if table is None else [table.row]
    if labels:
        by_path = _labels(names)
        describe.append(lambda path: {"label": by_path[path]} if path in by_path else None)
    if tags:
        salt = bytes.fromhex(store.identity.salt)
        describe.append(lambda path: read_dicom_metadata(path, patient=patient, salt=salt))  # type: ignore[arg-type]
    return describe


def _labels(names: "Sequence[str]") -> dict[str, str]:
    """Path to the folder directly below the one that was named, with spaces for underscores."""
    labels: dict[str, str] = {}
    for name in names:
        if Path(name).is_dir():
            for path in list_sources([name]):
                below = Path(path).relative_to(name).parts
                if len(below) > 1:
                    labels[path] = below[0].replace("_", " ").strip()
    return labels


def _ids(sources: "Sequence[str]", id_from: str, table: "MetadataTable | None") -> list[str]:
    from medimageinsight.search import make_ids

    if id_from not in _ID_SOURCES:
        raise InputError(
            f"expected --id-from to be {', '.join(_ID_SOURCES)}, got {id_from!r}: choose one of them",
            code="id_from_unknown",
        )
    if id_from != "table" or table is None:
        return make_ids(sources, id_from)  # type: ignore[arg-type]
    ids = [table.id(path) for path in sources]
    if missing := sum(one is None for one in ids):
        raise InputError(
            f"expected the table to have an id for each image, {missing:,} have none: fill the column id",
            code="ids_missing",
        )
    return [one for one in ids if one is not None]


def _tell(report: "IndexReport", count: int, *, described: bool, as_json: bool) -> None:
    for source, error in report.failed.items():
        output.error(error.message, source=source)
    counts = {"added": report.added, "updated": report.updated, "skipped": report.skipped}
    if as_json:
        failed = [{"source": source, "error": error.to_dict()} for source, error in report.failed.items()]
        output.print_json({**counts, "undescribed": report.undescribed, "count": count, "failed": failed})
        return
    done = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number or what == "added")
    output.note(f"{done}; the store has {count:,} images")
    if described and report.undescribed:
        output.note(f"{report.undescribed:,} have no metadata: neither the table nor the files say anything of them")


def _finish(document: dict[str, Any], message: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(document)
    else:
        output.note(message)
