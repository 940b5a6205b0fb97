"""``mi2 index add``: embed images and add them to a store."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from medimageinsight.cli import output
from medimageinsight.cli.errors import FAILED_INPUT, error_context
from medimageinsight.cli.options import (
    AcceptMaps,
    AsJson,
    Frame,
    Model,
    PathColumn,
    Percentiles,
    Preprocessing,
    Root,
    StoreLocation,
    Window,
    choose_window,
    open_or_plan,
    store_context,
)
from medimageinsight.cli.reading_options import ReadingOptions
from medimageinsight.cli.results import failures_to_json, print_failures
from medimageinsight.errors import DatasetError, InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from medimageinsight.bundle import VectorIdentity
    from medimageinsight.search import (
        ColumnType,
        Existing,
        IndexReport,
        MetadataSource,
        MetadataTable,
        PatientIdentity,
        PlannedStore,
        Store,
        Value,
    )

ID_SOURCES = ("path", "name", "stem", "table")

ImagePaths = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|FOLDER...",
        help="Images; folders are searched; also files of vectors that `mi2 embed --out` wrote.",
        show_default=False,
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(metavar="TABLE", help="A .csv, .tsv, .txt or .parquet file about the images, with a column path."),
]
TableColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:TYPE]",
        help="A column of the table to store, with its type: string, integer, float or boolean; repeatable. "
        "Default: all, with the types of their values.",
    ),
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
    path_column: PathColumn = None,
    root: Root = None,
    dicom_tags: DicomTags = False,
    patient_id: PatientId = "none",
    labels_from_folders: LabelsFromFolders = False,
    id_from: IdFrom = "path",
    update: Update = False,
    skip: SkipExisting = False,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    frame: Frame = 0,
    window: Window = None,
    percentiles: Percentiles = None,
    accept_maps: AcceptMaps = False,
    preprocessing: Preprocessing = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Embed images and add them to a store, which is created if it does not exist.

    With --level image,series,study the store also has a pooled vector of each series and study; each image is embedded
    once. Added images are durable: continue an interrupted call with --skip-existing. A store accepts only the model,
    preprocessing and window that it was created with.
    """
    from medimageinsight.cli.index_studies import add_studies
    from medimageinsight.search import IndexReport, index_images

    reading.check_frame(frame)
    reading.check_comparable()
    _check_options(update, skip, metadata, column, id_from, patient_id, dicom_tags=dicom_tags)
    patient: PatientIdentity | None = patient_id if dicom_tags else None  # type: ignore[assignment]  # checked above
    with store_context(store):
        loaded, opened = open_or_plan(
            store, model, preprocessing, window=choose_window(window, percentiles), accept_maps=accept_maps
        )
    with opened:
        sources, vectors, as_studies = _list_images(files, opened.identity, reading)
        if as_studies and id_from != "path":
            raise InputError(
                "expected ids from paths for series, studies and volumes, got --id-from: leave it out",
                code="reading_option_unused",
            )
        table = None if metadata is None else _read_table(metadata, column, path_column, root, opened)
        labels = _folder_labels(files) if labels_from_folders else None
        described = _metadata_sources(opened, table, labels, patient)
        ids = _make_ids(sources, id_from, table)
        existing: Existing = "update" if update else "skip" if skip else "refuse"
        types = _column_types(table, labels, patient)
        total = None if as_studies else len(sources)
        paths: set[str] = set(sources)
        with output.counting("indexing", total) as progress, store_context(store), _resumable():
            report = IndexReport()
            if sources:
                report = index_images(
                    loaded, opened, sources, ids=ids, metadata=list(described.values()), types=types,
                    vectors=vectors, existing=existing, frame=frame, progress=progress,
                )  # fmt: skip
            if as_studies:
                add_studies(
                    loaded, opened, as_studies, reading, report, metadata=described, types=types, existing=existing,
                    paths=paths, progress=lambda done: progress(len(sources) + done),
                )  # fmt: skip
        unmatched = None if table is None else table.count_unmatched(paths)
        _print_report(report, opened.count(), has_metadata=bool(described), unmatched=unmatched, as_json=as_json)
    if report.failed:
        raise typer.Exit(FAILED_INPUT)


@contextmanager
def _resumable() -> "Iterator[None]":
    """State how to continue when the block is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, StoreError):
        output.note("images that were added are stored: continue with the same call and --skip-existing")
        raise


def _check_options(
    update: bool,
    skip: bool,
    metadata: Path | None,
    column: "Sequence[str] | None",
    id_from: str,
    patient_id: str,
    *,
    dicom_tags: bool,
) -> None:
    from medimageinsight.search import check_patient_identity

    check_patient_identity(patient_id)
    if patient_id != "none" and not dicom_tags:
        raise InputError(
            "expected --dicom-tags with --patient-id, which is read from DICOM files, got --patient-id alone",
            code="patient_id_alone",
        )
    if update and skip:
        raise InputError("expected --update or --skip-existing, got both: choose one", code="existing_invalid")
    if (column or id_from == "table") and metadata is None:
        raise InputError("expected --metadata with --column and --id-from table, got none", code="metadata_missing")
    if id_from not in ID_SOURCES:
        raise InputError(
            f"expected --id-from to be {', '.join(ID_SOURCES)}, got {id_from!r}: choose one of them",
            code="id_from_unknown",
        )


def _list_images(
    files: "Sequence[Any]", identity: "VectorIdentity", reading: ReadingOptions
) -> "tuple[list[str], dict[str, NDArray[np.float32]], list[Any]]":
    """Return the images of files, folders and files of vectors, the vectors by image, and what is read as studies."""
    from medimageinsight.cli.index_studies import divide_sources
    from medimageinsight.datasets import is_vector_file, read_vectors

    sources: list[str] = []
    as_studies: list[Any] = []
    vectors: dict[str, NDArray[np.float32]] = {}
    for name in files:
        if not isinstance(name, str):  # a study on a server
            as_studies.append(name)
            continue
        if not is_vector_file(name):
            single, several = divide_sources([name], reading)
            sources += single
            as_studies += several
            continue
        with error_context(name, InputError):
            found = read_vectors(name)
            found.check_model(identity)
            if found.sources is None:
                raise InputError(
                    "expected vectors with the names of their images, got an array without F.npy.json next to it: "
                    "embed the images again",
                    code="vectors_unnamed",
                )
        sources += found.sources
        vectors |= {
            name: row for name, row, has in zip(found.sources, found.vectors, found.succeeded, strict=True) if has
        }
    return sources, vectors, as_studies


def _folder_labels(names: "Sequence[str]") -> "MetadataSource":
    """Return a function from a path below the folders among the names to its label: the name of its first subfolder."""
    from medimageinsight.search import label_by_folder

    folders = [name for name in reversed(names) if isinstance(name, str) and Path(name).is_dir()]

    def read(path: str) -> "Mapping[str, Value] | None":
        for folder in folders:
            if Path(path).is_relative_to(folder) and (labels := label_by_folder(folder, [path])):
                return {"label": labels[path]}
        return None

    return read


def _metadata_sources(
    store: "Store | PlannedStore",
    table: "MetadataTable | None",
    labels: "MetadataSource | None",
    patient: "PatientIdentity | None",
) -> "dict[str, MetadataSource]":
    """Return the sources of metadata by name; with `patient` None, DICOM files are not among them."""
    from medimageinsight.search import read_dicom_metadata

    sources: dict[str, MetadataSource] = {}
    if table is not None:
        sources["table"] = table.row
    if labels is not None:
        sources["folders"] = labels
    if patient is not None:
        # The salt of a new store is known when its first image is written.
        sources["dicom"] = lambda path: read_dicom_metadata(
            path, patient=patient, salt=bytes.fromhex(store.identity.salt)
        )
    return sources


def _column_types(
    table: "MetadataTable | None", labels: "MetadataSource | None", patient: "PatientIdentity | None"
) -> "dict[str, ColumnType]":
    """Return the types of all metadata columns."""
    from medimageinsight.search import dicom_column_types, merge_types

    return merge_types(
        {} if table is None else table.types,
        {} if labels is None else {"label": "string"},
        {} if patient is None else dicom_column_types(patient),
    )


def _make_ids(sources: "Sequence[str]", id_from: str, table: "MetadataTable | None") -> list[str] | None:
    """Return the ids, or None for those that `index_images` makes of paths."""
    from medimageinsight.search import make_ids

    if id_from == "path":
        return None
    if id_from == "table" and table is not None:
        return table.require_ids(sources)
    return make_ids(sources, id_from)  # type: ignore[arg-type]  # checked by _check_options


def _read_table(
    metadata: Path,
    columns: "Sequence[str] | None",
    path_column: str | None,
    root: Path | None,
    store: "Store | PlannedStore",
) -> "MetadataTable":
    """Read the table's columns NAME or NAME:TYPE for a store."""
    from medimageinsight.search import ColumnType, read_metadata

    names: list[str] = []
    types: dict[str, ColumnType] = {}
    for column in columns or ():
        name, _, kind = column.rpartition(":")
        if name and kind in get_args(ColumnType):
            types[name] = kind  # type: ignore[assignment]  # checked above
        names.append(name if name in types else column)
    with error_context(metadata, (DatasetError, InputError)):
        return read_metadata(
            metadata, root=root, columns=names or None, types=types, stored=store.columns, path_column=path_column
        )


def _print_report(
    report: "IndexReport", count: int, *, has_metadata: bool, unmatched: int | None, as_json: bool
) -> None:
    print_failures(report.failed)
    counts = {"added": report.added, "updated": report.updated, "skipped": report.skipped}
    if as_json:
        rows = {} if unmatched is None else {"unmatched_rows": unmatched}
        failed = failures_to_json(report.failed)
        output.print_json({**counts, "undescribed": report.undescribed, **rows, "count": count, "failed": failed})
        return
    summary = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items() if number or outcome == "added")
    output.note(f"{summary}; the store has {count:,} images")
    if has_metadata and report.undescribed:
        output.note(f"{report.undescribed:,} images have no metadata in the table or in their files")
    if unmatched:
        output.note(f"{unmatched:,} rows of the table belong to none of the images: see --root and --path-column")
