"""Rows that are series: the DICOM files of a folder or prefix, grouped, with one pooled vector each."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO

from medimageinsight.batch.locations import (
    is_uri,
    list_objects,
    local_path,
    may_be_image,
    open_location,
    read_object,
    split_uri,
    stat_location,
)
from medimageinsight.batch.rows import WHOLE, Row
from medimageinsight.errors import InputError
from medimageinsight.studies.files import FileCollection, LocalFile, StudyFile
from medimageinsight.studies.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.batch.options import BatchOptions
    from medimageinsight.images import ImageGroup, Limits
    from medimageinsight.studies import Series
    from medimageinsight.studies.warnings import OnFailure


class _ObjectFile(StudyFile):
    """A file in an object store."""

    def __init__(self, location: str) -> None:
        self._location = location

    @property
    def origin(self) -> Origin:
        return Origin(path=self._location)

    def open(self) -> BinaryIO:
        return open_location(self._location)

    def read(self, limits: Limits) -> bytes:
        return read_object(self._location, limits)


class _Files(FileCollection):
    """The files of one folder or prefix, without those below its subfolders."""

    def __init__(self, name: str, locations: Sequence[str]) -> None:
        self._name = name
        self._locations = locations

    @property
    def name(self) -> str:
        return self._name

    def files(self, limits: Limits, failed: OnFailure) -> Iterator[StudyFile]:  # noqa: ARG002 - of any collection
        for location in self._locations:
            yield _ObjectFile(location) if is_uri(location) else LocalFile(location)


def folder_rows(folder: str, options: BatchOptions) -> Iterator[Row]:
    """Yield a row for each series in each folder below a folder; a series is not joined across folders."""
    from medimageinsight.datasets import FoundImages, walk_images

    for parent, paths in groupby(walk_images(folder, FoundImages()), key=os.path.dirname):
        listed = [(path, *stat_location(path)) for path in paths]
        yield from _series_rows(parent, listed, options)


def prefix_rows(location: str, options: BatchOptions) -> Iterator[Row]:
    """Yield a row for each series in each folder below a prefix of an object store."""
    root, _ = split_uri(location)
    items = (item for item in list_objects(location) if may_be_image(item["path"]))
    for parent, found in groupby(items, key=lambda item: item["path"].rpartition("/")[0]):
        listed = [(f"{root}/{item['path']}", item["size"], item["version"]) for item in found]
        yield from _series_rows(f"{root}/{parent}", listed, options)


def open_series(location: str | bytes, number: int, options: BatchOptions) -> ImageGroup:
    """Return a series of a folder or prefix, or the only series of a file.

    Raises:
        InputError: There is no such series, or a file has several (``study_several``).
    """
    if isinstance(location, bytes):
        return _only(_read(location, options)[0])
    if number == WHOLE:
        return _only(_read_location(location, options)[0])
    series, _ = _read_location(location, options)
    if number >= len(series):
        raise InputError("expected the series of the plan in the folder, got fewer", code="batch_inputs_changed")
    return series[number]


def _series_rows(parent: str, listed: list[tuple[str, int, str]], options: BatchOptions) -> Iterator[Row]:
    digest = hashlib.sha256(repr(listed).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    size = sum(found for _, found, _ in listed)
    series, failed = _read(_Files(parent, [name for name, _, _ in listed]), options)
    for number in range(len(series)):
        key = parent if len(series) == 1 else f"{parent}#series={number}"
        yield Row(key, parent, series=number, size=size, version=digest)
    known = {name: (found, version) for name, found, version in listed}
    for name in failed:
        found, version = known.get(name, (-1, ""))
        yield Row(name, name, size=found, version=version)


@lru_cache(maxsize=2)  # the series of a folder follow each other
def _read_location(location: str, options: BatchOptions) -> tuple[list[Series], list[str]]:
    path = local_path(location)
    if path is not None and os.path.isfile(path):  # noqa: PTH113
        return _read(path, options)
    if path is not None:
        from medimageinsight.datasets import FoundImages, walk_images

        return _read(_Files(path, [name for name in walk_images(path, FoundImages()) if _is_in(name, path)]), options)
    if stat_location(location)[0] >= 0:
        return _read(_Files(location, [location]), options)
    root, prefix = split_uri(location)
    names = [item["path"] for item in list_objects(location) if may_be_image(item["path"])]
    inside = [f"{root}/{name}" for name in names if name.rpartition("/")[0] == prefix]
    return _read(_Files(location, inside), options)


def _is_in(name: str, folder: str) -> bool:
    return os.path.dirname(name) == folder.rstrip("/")  # noqa: PTH120 - as it was given


def _read(source: Any, options: BatchOptions) -> tuple[list[Series], list[str]]:  # noqa: ANN401 - anything that is read
    """Return the series of a source, and the names of the files that belong to none."""
    from medimageinsight import studies

    given = {"select": options.select, "pooling": options.pooling}
    failures: dict[str, InputError] = {}
    found = list(
        studies.read(
            [source],
            failed=failures.__setitem__,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )
    )
    failed = [*failures, *(name for study in found for name in study.failed)]
    series = [part for study in found for part in study.series]
    if not series and isinstance(source, str | bytes) and failures:
        raise next(iter(failures.values()))
    return series, failed


def _only(series: Sequence[Series]) -> ImageGroup:
    if len(series) != 1:
        raise InputError(
            f"expected one series in a row of the table, got {len(series)}: name them one by one", code="study_several"
        )
    return series[0]
