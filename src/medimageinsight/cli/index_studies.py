"""Studies of ``mi2 index add`` and ``sync``: what is read as a study, and how those of a store were read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from medimageinsight.cli import output
from medimageinsight.cli.source_list import needs_reading
from medimageinsight.cli.sources import list_sources
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from medimageinsight.api import MedImageInsight
    from medimageinsight.cli.reading_options import ReadingOptions
    from medimageinsight.search import ColumnType, Existing, IndexReport, MetadataSource, PlannedStore, Store
    from medimageinsight.studies import Study


def divide_sources(names: Sequence[str], reading: ReadingOptions) -> tuple[list[str], list[str]]:
    """Return the files that are one image each, and the files and folders that are read as studies."""
    if reading.reads_studies:
        return [], list(names)
    listed = list_sources(names, arrays=False)
    as_study = [needs_reading(name) for name in listed]
    return (
        [name for name, reads in zip(listed, as_study, strict=True) if not reads],
        [name for name, reads in zip(listed, as_study, strict=True) if reads],
    )


def read_studies(names: Sequence[Any], reading: ReadingOptions, failed: dict[str, InputError]) -> Iterator[Study]:
    """Yield the studies of files and folders; the errors of their files become `failed`."""
    others: list[str] = []

    def fail(file: str, error: InputError) -> None:
        failed[file] = error

    for name in names:
        yield from reading.read(name, fail, others.append)
    if others:
        output.note(f"{len(others):,} files are not images")


def add_studies(
    model: MedImageInsight,
    store: Store | PlannedStore,
    names: Sequence[Any],
    reading: ReadingOptions,
    report: IndexReport,
    *,
    metadata: Mapping[str, MetadataSource],
    types: Mapping[str, ColumnType],
    existing: Existing,
    paths: set[str],
    progress: Callable[[int], None],
) -> None:
    """Add studies to a store; `report` and the `paths` of images grow.

    The metadata named ``dicom`` is read from headers, the other by path.
    """
    from medimageinsight.search import index_studies

    def record(path: str) -> None:
        paths.add(path)

    by_path = [source for name, source in metadata.items() if name != "dicom"]
    added = index_studies(
        model,
        store,
        read_studies(names, reading, report.failed),
        levels=reading.levels,
        metadata=[record, *by_path] if by_path else [],
        read_header=metadata.get("dicom"),  # type: ignore[arg-type]  # it reads any header
        types=types,
        existing=existing,
        progress=progress,
    )
    report.added += added.added
    report.updated += added.updated
    report.skipped += added.skipped
    report.undescribed += added.undescribed
    report.failed.update(added.failed)


def stored_reading(store: Store, folders: Sequence[str], given: ReadingOptions) -> ReadingOptions | None:
    """Return how the studies of folders in a store were read, with the given options; None if it has none of them.

    Raises:
        InputError: They were read in several ways (``reading_option_missing``).
    """
    from medimageinsight.search import items_below

    if "study" not in store.columns or "content" not in store.columns:
        return given if given.reads_studies else None
    found = list(items_below(store, folders, where="study is not null and content is not null"))
    if not found:
        return given if given.reads_studies else None
    columns = {
        name: sorted({str(item.metadata[name]) for item in found if item.metadata.get(name)})
        for name in ("level", "selection", "pooling")
    }
    columns["plane"] = sorted({item.origin.plane for item in found if item.origin.plane})
    several = [name for name, values in columns.items() if name != "level" and len(values) > 1]
    options = {"selection": given.select, "pooling": given.pooling, "plane": given.plane}
    if missing := [name for name in several if options[name] is None]:
        raise InputError(
            f"expected studies of one {missing[0]} in the store, got {len(columns[missing[0]])}: choose one with "
            f"--{'select' if missing[0] == 'selection' else missing[0]}",
            code="reading_option_missing",
        )
    chosen = {name: value or next(iter(columns[name]), None) for name, value in options.items()}
    levels = given.levels if given.levels != ("image",) else tuple(columns["level"])
    select = chosen["selection"]
    return replace(
        given,
        levels=levels,  # type: ignore[arg-type]  # those that `index_studies` stored
        select=None if select is None or "," in select else select,
        pooling=chosen["pooling"],
        plane=chosen["plane"],
    )
