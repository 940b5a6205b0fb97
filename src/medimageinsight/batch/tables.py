"""Tables of images, read row by row: paths, URIs, base64 or bytes, with keys and texts."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from medimageinsight.batch.locations import is_uri, local_path, open_location, split_uri
from medimageinsight.batch.rows import arrow
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.files.columns import find_column
from medimageinsight.files.delimited import SEPARATORS
from medimageinsight.files.paths import join_table_path
from medimageinsight.images import Limits, is_data_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.batch.options import BatchOptions

DELIMITED = (".csv", ".tsv")
TABLES = (*DELIMITED, ".parquet")
MIN_BASE64 = 64  # characters; the smallest PNG needs 92
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_SAMPLE = 4096  # characters of a cell that are looked at
_MAX_RECORD = 2 << 30  # bytes of a row: an image of the largest size in base64
_ROWS_AT_ONCE = 64  # of a Parquet file: a cell may be an image


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a row that matter: its position, key, image and text; '' where there is none."""

    offset: int
    key: str
    image: str | bytes
    text: str


def is_table(location: str) -> bool:
    """Return whether a location has the name of a table."""
    return PurePosixPath(location.replace("\\", "/")).suffix.lower() in TABLES


def is_encoded(cell: str | bytes) -> bool:
    """Return whether a cell is an image itself, as bytes, base64 or a ``data:`` URI, rather than where one is."""
    if isinstance(cell, bytes) or is_data_uri(cell):
        return True
    return len(cell) >= MIN_BASE64 and _BASE64.fullmatch(cell[:_SAMPLE]) is not None


def resolve(cell: str, table: str, root: str | None) -> str:
    """Return the location that a cell names, relative to `root`, else to the folder of the table."""
    if is_uri(cell):
        return cell
    if root is None and local_path(table) is None:
        bucket, key = split_uri(table)
        return f"{bucket}/{posixpath.join(posixpath.dirname(key), cell)}"
    if root is not None and is_uri(root):
        return f"{root.rstrip('/')}/{cell}"
    folder = Path(root) if root is not None else Path(local_path(table) or "").parent
    return str(join_table_path(folder, cell))


def read_table_rows(location: str, options: BatchOptions, start: int = 0) -> Iterator[Cells]:
    """Yield the cells of the rows of a table from a position on, in bounded memory.

    Raises:
        DatasetError: It cannot be read (``dataset_unreadable``) or has no such column (``dataset_columns_invalid``).
        OSError: It cannot be opened.
    """
    read = _parquet_rows if location.lower().endswith(".parquet") else _delimited_rows
    with open_location(location) as file:
        yield from read(file, options, start)


def _choose(header: Sequence[str], options: BatchOptions) -> tuple[str | None, str | None, str | None]:
    """Return the columns of the keys, the images and the texts."""
    key = find_column(header, options.key_column or "key")
    image = find_column(header, options.path_column or "path")
    if image is None and options.path_column is None:
        image = find_column(header, "image")
    text = find_column(header, "text")
    if (key is None and options.key_column is not None) or (image is None and (options.path_column or text is None)):
        wanted = options.path_column or "path or image"
        raise DatasetError(
            f"expected a column {wanted}{f' and {options.key_column}' if options.key_column else ''} in the table, got "
            f"{len(header)} other columns: name it with --path-column and --key-column",
            code="dataset_columns_invalid",
        )
    return key, image, text


def _delimited_rows(file: Any, options: BatchOptions, start: int) -> Iterator[Cells]:  # noqa: ANN401
    first = _next_record(file)
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in first:
        raise _unreadable("a table in UTF-8, got UTF-16 or binary data")
    text = _decode(first.removeprefix(b"\xef\xbb\xbf"))
    separator = max(SEPARATORS, key=text.count)
    header = [name.strip() for name in _split(text, separator)]
    columns = [None if name is None else header.index(name) for name in _choose(header, options)]
    if start:
        file.seek(start)
    while True:
        offset = file.tell()
        record = _next_record(file)
        if not record:
            return
        if not record.strip():
            continue
        cells = _split(_decode(record), separator)
        key, image, words = (
            "" if column is None or column >= len(cells) else cells[column].strip() for column in columns
        )
        yield Cells(offset, key, image, words)


def _next_record(file: Any) -> bytes:  # noqa: ANN401
    """Return the next row with the line breaks within its quotes; b'' at the end."""
    lines, quotes, size = [], 0, 0
    while line := file.readline(_MAX_RECORD):
        lines.append(line)
        quotes += line.count(b'"')
        size += len(line)
        if size >= _MAX_RECORD:
            raise _unreadable("rows of at most 2 GiB, got a longer one")
        if quotes % 2 == 0:
            break
    return b"".join(lines)


def _decode(record: bytes) -> str:
    try:
        return record.decode()
    except UnicodeDecodeError:
        return record.decode("cp1252", "replace")


def _split(text: str, separator: str) -> list[str]:
    csv.field_size_limit(2**31 - 1)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        raise _unreadable("a delimited table, got rows that cannot be split") from None


def _parquet_rows(file: Any, options: BatchOptions, start: int) -> Iterator[Cells]:  # noqa: ANN401
    pa = arrow()
    try:
        table = pa.parquet.ParquetFile(file)
        chosen = _choose(table.schema_arrow.names, options)
        columns = [name for name in chosen if name is not None]
        position = 0
        with closing(table):
            for group in range(table.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                if position + rows <= start:
                    position += rows
                    continue
                for batch in table.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns):
                    for values in batch.to_pylist() if position + batch.num_rows > start else ():
                        if position >= start:
                            key, image, text = (None if name is None else values[name] for name in chosen)
                            yield Cells(position, _text(key), _image(image), _text(text))
                        position += 1
                    position += batch.num_rows if position + batch.num_rows <= start else 0
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(f"a Parquet table, got {type(error).__name__}") from None


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN


def _image(value: object) -> str | bytes:
    """Return an image cell, also of a structure ``{"bytes", "path"}``."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) and value else _text(value or None)


def cell_source(cells: Cells, table: str, options: BatchOptions, limits: Limits) -> str | bytes:
    """Return the location or the bytes of a row's image.

    Raises:
        ImageError: Base64 that cannot be decoded.
        InputError: There is no image (``image_missing``).
    """
    from medimageinsight.images import decode_base64

    if not cells.image:
        raise InputError("expected an image in the row, got an empty cell", code="image_missing")
    if isinstance(cells.image, bytes):
        return cells.image
    return decode_base64(cells.image, limits=limits) if is_encoded(cells.image) else resolve(
        cells.image, table, options.root
    )  # fmt: skip


def _unreadable(problem: str) -> DatasetError:
    return DatasetError(f"expected {problem}: write it again", code="dataset_unreadable")
