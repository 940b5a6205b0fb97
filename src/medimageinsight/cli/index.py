"""``mi2 index``: create, fill and maintain a store of image embeddings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context, report_errors
from medimageinsight.cli.options import (
    AsJson,
    Frame,
    Model,
    Preprocessing,
    StoreLocation,
    Where,
    load_model,
    load_store,
)
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import DatasetError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import IndexReport, MetadataSource, MetadataTable, Recall, Store, StoreInfo

app = typer.Typer(
    help="Create and maintain a store of image embeddings: a folder, or a PostgreSQL database with pgvector.",
    no_args_is_help=True,
)
ID_SOURCES = ("path", "name", "stem", "table")

ImagePaths = Annotated[
    list[str], typer.Argument(metavar="FILE|FOLDER...", help="Images; folders are searched.", show_default=False)
]
Table = Annotated[
    Path | None, typer.Option(metavar="TABLE", help="A .csv or .parquet file about the images, with a column path.")
]
TableColumns = Annotated[
    list[str] | None, typer.Option(help="A column of the table to store; repeatable. Default: all.")
]
DicomTags = Annotated[
    bool, typer.Option("--dicom-tags", help="Store modality, body part, view, age and sex from DICOM files.")
]
PatientId = Annotated[
    str, typer.Option(metavar="none|hashed|plain", help="How --dicom-tags stores the PatientID, if at all.")
]
LabelsFromFolders = Annotated[
    bool, typer.Option("--labels-from-folders", help="Store the first folder below FOLDER as the column label.")
]
IdFrom = Annotated[
    str, typer.Option(metavar="|".join(ID_SOURCES), help="Where ids come from; table: the column id of --metadata.")
]
Update = Annotated[bool, typer.Option("--update", help="Replace images that are already in the store.")]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Skip images that are already in the store.")]


def add(
    store: StoreLocation,
    files: ImagePaths,
    metadata: Table = None,
    column: TableColumns = None,
    dicom_tags: DicomTags = False,
    patient_id: PatientId = "none",
    labels_from_folders: LabelsFromFolders = False,
    id_from: IdFrom = "path",
    update: Update = False,
    skip: SkipExisting = False,
    frame: Frame = 0,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed images and add them to a store, which is created if it does not exist.

    Added images are durable: continue an interrupted call with --skip-existing. A store accepts only the model and
    preprocessing that it was created with.
    """
    from medimageinsight.search import index_images, read_metadata, redact_location

    _check_patient_id(patient_id, dicom_tags=dicom_tags)
    if update and skip:
        raise InputError("expected --update or --skip-existing, got both: choose one", code="existing_invalid")
    if (column or id_from == "table") and metadata is None:
        raise InputError("expected --metadata with --column and --id-from table, got none", code="metadata_missing")
    sources = list_sources(files)
    with error_context(redact_location(store), StoreError):
        loaded, opened = _open_or_create(store, model, preprocessing)
    with opened:
        with error_context(metadata, (DatasetError, InputError)):
            table = None if metadata is None else read_metadata(metadata, columns=column, types=opened.columns)
        labels = _folder_labels(files) if labels_from_folders else None
        metadata_sources = _metadata_sources(opened, table, labels, patient_id if dicom_tags else None)
        with output.counting("indexing", len(sources)) as progress, error_context(redact_location(store), StoreError):
            report = index_images(
                loaded,
                opened,
                sources,
                ids=_make_ids(sources, id_from, table),
                metadata=metadata_sources,
                existing="update" if update else "skip" if skip else "refuse",
                frame=frame,
                progress=progress,
            )
        _print_report(report, opened.count(), has_metadata=bool(metadata_sources), as_json=as_json)
    if report.failed:
        raise typer.Exit(FAILED_INPUT)


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
    with load_store(store) as opened:
        count = opened.delete(ids or None, where=where)
    _print_result({"deleted": count}, f"{count:,} deleted", as_json=as_json)
    if ids and count < len(set(ids)):
        output.error(
            f"expected ids of the store, got {len(set(ids)) - count:,} that it does not have: check their spelling"
        )
        raise typer.Exit(FAILED_INPUT)


def duplicates(
    store: StoreLocation,
    threshold: Annotated[float, typer.Option(help="The smallest cosine similarity of a pair, above 0.")] = 0.99,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="The largest number of pairs; the most similar are shown.")] = 1000,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster in large stores; misses some pairs near the threshold.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find pairs of stored images that are nearly the same, most similar first."""
    from medimageinsight.search import find_duplicates

    with load_store(store) as opened:
        pairs = find_duplicates(opened, threshold, where=where, limit=limit, approximate=approximate)
    if as_json:
        output.print_json({"pairs": [vars(pair) for pair in pairs]})
    elif pairs:
        rows = [(f"{pair.score:.4f}", output.printable(pair.a), output.printable(pair.b)) for pair in pairs]
        output.print_table(("score", "a", "b"), rows)
    else:
        output.note("no pairs were found")


for verb in (add, info, compact, build, delete, duplicates):
    app.command()(report_errors(verb))


def _open_or_create(location: str, model: str | None, preprocessing: str | None) -> "tuple[MedImageInsight, Store]":
    """Return the model and the store; an existing store's preprocessing is the default."""
    from medimageinsight.search import Identity, create_store, open_store

    try:
        opened = open_store(location)
    except StoreError as error:
        if error.code != "store_not_found":
            raise
        loaded = load_model(model, preprocessing)
        return loaded, create_store(location, identity=Identity.of(loaded))
    return load_model(model, preprocessing or str(opened.identity.preprocessing["default"])), opened


def _check_patient_id(patient_id: str, *, dicom_tags: bool) -> None:
    from medimageinsight.search import check_patient_identity

    check_patient_identity(patient_id)
    if patient_id != "none" and not dicom_tags:
        raise InputError(
            "expected --dicom-tags with --patient-id, which is read from DICOM files, got --patient-id alone",
            code="patient_id_alone",
        )


def _folder_labels(names: "Sequence[str]") -> dict[str, str]:
    """Return a label for each path below the folders among the names: the name of its first subfolder."""
    from medimageinsight.search import label_by_folder

    labels: dict[str, str] = {}
    for name in names:
        if Path(name).is_dir():
            labels |= label_by_folder(name, list_sources([name]))
    return labels


def _metadata_sources(
    store: "Store", table: "MetadataTable | None", labels: dict[str, str] | None, patient: str | None
) -> "list[MetadataSource]":
    """Return the sources of metadata; with `patient` None, DICOM files are not among them."""
    from medimageinsight.search import read_dicom_metadata

    sources: list[MetadataSource] = [] if table is None else [table.row]
    if labels is not None:
        sources.append(lambda path: {"label": labels[path]} if path in labels else None)
    if patient is not None:
        salt = bytes.fromhex(store.identity.salt)
        sources.append(partial(read_dicom_metadata, patient=patient, salt=salt))  # type: ignore[arg-type]
    return sources


def _make_ids(sources: "Sequence[str]", id_from: str, table: "MetadataTable | None") -> list[str]:
    from medimageinsight.search import make_ids

    if id_from not in ID_SOURCES:
        raise InputError(
            f"expected --id-from to be {', '.join(ID_SOURCES)}, got {id_from!r}: choose one of them",
            code="id_from_unknown",
        )
    if id_from == "table" and table is not None:
        return table.require_ids(sources)
    return make_ids(sources, id_from)  # type: ignore[arg-type]  # checked above


def _print_report(report: "IndexReport", count: int, *, has_metadata: bool, as_json: bool) -> None:
    for source, error in report.failed.items():
        output.error(error.message, source=source)
    counts = {"added": report.added, "updated": report.updated, "skipped": report.skipped}
    if as_json:
        failed = [{"source": source, "error": error.to_dict()} for source, error in report.failed.items()]
        output.print_json({**counts, "undescribed": report.undescribed, "count": count, "failed": failed})
        return
    summary = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items() if number or outcome == "added")
    output.note(f"{summary}; the store has {count:,} images")
    if has_metadata and report.undescribed:
        output.note(f"{report.undescribed:,} images have no metadata in the table or in their files")


def _info_rows(store_info: "StoreInfo", recall: "Recall | None") -> list[tuple[str, str]]:
    identity, index = store_info.identity, store_info.index
    rows = [
        ("images", f"{store_info.count:,}"),
        ("model", f"{identity.model} {identity.precision}, {identity.embedding_dim} numbers"),
        ("preprocessing", str(identity.preprocessing["default"])),
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
