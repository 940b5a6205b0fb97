"""``mi2 index``: create, fill and maintain a store of image embeddings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context, report_errors
from medimageinsight.cli.options import AsJson, Frame, Model, Preprocessing, StoreLocation, Where, load_model
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import DatasetError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.search import IndexReport, MetadataSource, MetadataTable, Recall, Store, StoreInfo

app = typer.Typer(
    help="Maintain a store of image embeddings to search: a folder, or a PostgreSQL database with pgvector.",
    no_args_is_help=True,
)
ID_SOURCES = ("path", "name", "stem", "table")

ImagePaths = Annotated[
    list[str], typer.Argument(metavar="FILE|FOLDER...", help="Images; folders are searched.", show_default=False)
]
Table = Annotated[
    Path | None,
    typer.Option(metavar="TABLE", help="A .csv or .parquet file with a column path, relative to the table."),
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
    bool, typer.Option("--labels-from-folders", help="FOLDER/LABEL/... gives the column label.")
]
IdFrom = Annotated[
    str, typer.Option(metavar="|".join(ID_SOURCES), help="The source of image ids; table: the table's column id.")
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
    from medimageinsight.search import index_images, redact_location

    _check_patient_id(patient_id, dicom_tags=dicom_tags)
    if update and skip:
        raise InputError("expected --update or --skip-existing, got both: choose one", code="existing_invalid")
    if (column or id_from == "table") and metadata is None:
        raise InputError("expected --metadata with --column and --id-from table, got none", code="metadata_missing")
    sources = list_sources(files)
    with error_context(redact_location(store), StoreError):
        loaded, opened = _open_or_create(store, model, preprocessing)
    with opened:
        table = None if metadata is None else _read_table(metadata, opened, column)
        labels = _folder_labels(files) if labels_from_folders else None
        described_by = _metadata_sources(opened, table, labels, patient_id if dicom_tags else None)
        with output.counting("indexing", len(sources)) as progress, error_context(redact_location(store), StoreError):
            report = index_images(
                loaded,
                opened,
                sources,
                ids=_make_ids(sources, id_from, table),
                metadata=described_by,
                existing="update" if update else "skip" if skip else "refuse",
                frame=frame,
                progress=progress,
            )
        _print_report(report, opened.count(), has_metadata=bool(described_by), as_json=as_json)
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

    with _open(store) as opened:
        described = opened.info()
        measured = measure_recall(opened) if recall else None
    if as_json:
        document: dict[str, Any] = described.to_dict()
        output.print_json(document if measured is None else {**document, "recall": vars(measured)})
    else:
        output.print_table((described.kind, ""), _info_rows(described, measured))


def compact(store: StoreLocation, as_json: AsJson = False) -> None:
    """Join small files, add new images to the index, and erase deleted images from the disk."""
    with _open(store) as opened:
        opened.compact()
        described = opened.info()
    _print_result(described.to_dict(), f"{described.count:,} images", as_json=as_json)


def build(store: StoreLocation, as_json: AsJson = False) -> None:
    """Build the index anew; add does this itself when a store is large enough."""
    with _open(store) as opened:
        opened.build_index()
        described = opened.info()
    _print_result(described.to_dict(), f"{described.count:,} images indexed", as_json=as_json)


def delete(
    store: StoreLocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", show_default=False)] = None,
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Delete images by their ids, or those that match a filter. Use compact to erase them from the disk."""
    if bool(ids) == (where is not None):
        got = "both" if ids else "neither"
        raise InputError(f"expected ids or --where, got {got}: choose what to delete", code="delete_what")
    with _open(store) as opened:
        count = opened.delete(ids or None, where=where)
    _print_result({"deleted": count}, f"{count:,} deleted", as_json=as_json)
    if ids and count < len(set(ids)):
        output.error(f"expected ids of the store, {len(set(ids)) - count:,} are not: check their spelling")
        raise typer.Exit(FAILED_INPUT)


def duplicates(
    store: StoreLocation,
    threshold: Annotated[float, typer.Option(help="The smallest cosine similarity of a pair, above 0.")] = 0.99,
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="The largest number of pairs; the nearest are shown.")] = 1000,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Faster in large stores; misses some pairs near the threshold.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find pairs of stored images that are nearly the same, nearest first."""
    from medimageinsight.search import find_duplicates

    with _open(store) as opened:
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


def _open(location: str) -> "Store":
    from medimageinsight.search import open_store, redact_location

    with error_context(redact_location(location), StoreError):
        return open_store(location)


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
            "expected --dicom-tags with --patient-id, which is read from DICOM files, got it alone",
            code="patient_id_alone",
        )


def _read_table(file: Path, store: "Store", columns: "Sequence[str] | None") -> "MetadataTable":
    from medimageinsight.search import read_metadata

    with error_context(file, (DatasetError, InputError)):
        return read_metadata(file, columns=columns, types=store.columns)


def _folder_labels(names: "Sequence[str]") -> dict[str, str]:
    """Return path to label for the files of all folders among the names."""
    from medimageinsight.search import label_by_folder

    labels: dict[str, str] = {}
    for name in names:
        if Path(name).is_dir():
            labels |= label_by_folder(name, list_sources([name]))
    return labels


def _metadata_sources(
    store: "Store", table: "MetadataTable | None", labels: dict[str, str] | None, patient: str | None
) -> "list[MetadataSource]":
    """Return the sources of metadata; `patient` is None without metadata of DICOM files."""
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
    done = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items() if number or outcome == "added")
    output.note(f"{done}; the store has {count:,} images")
    if has_metadata and report.undescribed:
        output.note(f"{report.undescribed:,} have no metadata: neither the table nor the files contain any for them")


def _info_rows(described: "StoreInfo", measured: "Recall | None") -> list[tuple[str, str]]:
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
    return rows


def _print_result(document: dict[str, Any], message: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(document)
    else:
        output.note(message)
