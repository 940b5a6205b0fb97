"""List the rows of inputs: folders, tables, lists of files, single files; on disks and in object stores."""

from __future__ import annotations

import codecs
import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from medimageinsight.batch.locations import (
    is_uri,
    list_objects,
    local_path,
    may_be_image,
    open_location,
    split_uri,
    stat_location,
)
from medimageinsight.batch.rows import Row
from medimageinsight.batch.tables import is_encoded, is_table, read_table_rows, resolve
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medimageinsight.batch.options import BatchOptions

LISTS = (".txt", ".lst")


class Inputs:
    """The rows of inputs, in a fixed order, listed while they are read.

    Attributes:
        tables: The tables that rows refer to by number, so far.
    """

    def __init__(self, locations: Iterable[str], options: BatchOptions) -> None:
        self._locations = list(locations)
        self._options = options
        self.tables: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            InputError: There is nothing at a location (``batch_input_missing``).
            DatasetError: A table cannot be read.
        """
        self.tables.clear()
        for location in self._locations:
            path = local_path(location)
            if path is None:
                yield from self._object(location)
            elif Path(path).is_dir():
                yield from self._folder(path)
            elif Path(path).is_file():
                yield from self._file(path)
            else:
                raise _missing()

    def _file(self, location: str) -> Iterator[Row]:
        if is_table(location):
            yield from self._table(location)
        elif PurePosixPath(location).suffix.lower() in LISTS:
            yield from self._list(location)
        else:
            yield _file_row(location)

    def _folder(self, folder: str) -> Iterator[Row]:
        from medimageinsight.datasets import FoundImages, walk_images

        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208
        if names and all(map(is_table, names)):
            for name in names:
                yield from self._table(os.path.join(folder, name))  # noqa: PTH118 - as it was given
        elif self._options.level == "series":
            from medimageinsight.batch.series import folder_rows

            yield from folder_rows(folder, self._options)
        else:
            yield from map(_file_row, walk_images(folder, FoundImages()))

    def _object(self, location: str) -> Iterator[Row]:
        """Yield the rows of an object, or of all objects below a prefix."""
        size, _ = (-1, "") if location.endswith("/") else stat_location(location)
        if size >= 0:
            yield from self._file(location)
            return
        if self._options.level == "series":
            from medimageinsight.batch.series import prefix_rows

            yield from prefix_rows(location, self._options)
            return
        root, _ = split_uri(location)
        found = 0
        for item in list_objects(location):
            uri = f"{root}/{item['path']}"
            if is_table(uri):
                found += 1
                yield from self._table(uri)
            elif may_be_image(uri):
                found += 1
                yield Row(uri, uri, size=item["size"], version=item["version"])
        if not found:
            raise _missing()

    def _table(self, location: str) -> Iterator[Row]:
        number = len(self.tables)
        self.tables.append(location)
        size, version = stat_location(location)
        options = self._options
        try:
            for count, cells in enumerate(read_table_rows(location, options)):
                image = cells.image
                if options.texts or not image or is_encoded(image):
                    path = image if isinstance(image, str) and not is_encoded(image) else ""
                    key = cells.key or path or f"{location}#row={count}"
                    yield Row(key, table=number, offset=cells.offset, size=size, version=version)
                else:
                    yield _located_row(cells.key or str(image), resolve(str(image), location, options.root))
        except OSError as error:
            raise DatasetError(
                f"expected a table that can be read, got {type(error).__name__}: check it", code="dataset_unreadable"
            ) from None

    def _list(self, location: str) -> Iterator[Row]:
        """Yield a row for each line of a list; relative paths are those of the current folder, as for `mi2 embed`."""
        with open_location(location) as file:
            for number, line in enumerate(file):
                name = os.fsdecode(line.removeprefix(codecs.BOM_UTF8) if number == 0 else line).strip("\r\n\0")
                if name.strip():
                    root = self._options.root
                    yield _located_row(name, name if root is None else resolve(name, location, root))


def _file_row(path: str) -> Row:
    size, version = stat_location(path)
    return Row(path, path, size=size, version=version)


def _located_row(key: str, location: str) -> Row:
    """Return the row of a path or URI in a table; a request to a store for each of millions would take hours."""
    if is_uri(location) or "\0" in location:
        return Row(key, location)
    size, version = stat_location(location)
    return Row(key, location, size=size, version=version)


def fingerprint() -> hashlib._Hash:
    """Return the hash that `add_to_fingerprint` extends."""
    return hashlib.sha256(b"rows of a batch\n")


def add_to_fingerprint(digest: hashlib._Hash, rows: Iterable[Row]) -> None:
    """Extend a hash by rows, all that their results depend on."""
    for row in rows:
        fields = (row.key, row.location, row.table, row.offset, row.series, row.size, row.version)
        digest.update(repr(fields).encode("utf-8", "surrogatepass"))


def _missing() -> InputError:
    return InputError(
        "expected a folder, a table, a list of files or a prefix with objects, got nothing: check the location",
        code="batch_input_missing",
    )
