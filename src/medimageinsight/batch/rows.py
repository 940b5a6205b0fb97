"""Rows of a batch: what each row of the output is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimageinsight.errors import InputError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = -1  # a row that is all of its location, or of no table


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the input.

    Attributes:
        key: What the user calls it: a path, a URI, or the key of a table.
        location: Path or URI of a file, or of a folder of series; '' for a cell of a table.
        table: Number of the table with its cells, or `WHOLE`.
        offset: Position of the row in the table: bytes of a delimited file, rows of a Parquet file.
        series: Number of the series in the location, or `WHOLE` if there has to be one.
        size: Bytes of the file, or of the table; -1 where that is not known.
        version: Time of the last change, or an ETag; '' where that is not known.
    """

    key: str
    location: str = ""
    table: int = WHOLE
    offset: int = WHOLE
    series: int = WHOLE
    size: int = -1
    version: str = ""


def arrow() -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the module ``pyarrow``.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("batch", "a batch") from None
    return pyarrow


def plan_schema() -> Any:  # noqa: ANN401
    """Return the schema of the rows of a plan."""
    pa = arrow()
    return pa.schema(
        {
            "key": pa.binary(),  # names of files may be no text
            "location": pa.binary(),
            "table": pa.int32(),
            "offset": pa.int64(),
            "series": pa.int32(),
            "size": pa.int64(),
            "version": pa.string(),
        }
    )


def to_batch(rows: Sequence[Row]) -> Any:  # noqa: ANN401
    """Return rows as a record batch of `plan_schema`."""
    schema = plan_schema()
    columns: list[list[Any]] = [[getattr(row, name) for row in rows] for name in schema.names]
    columns[:2] = [[text.encode("utf-8", "surrogateescape") for text in column] for column in columns[:2]]
    arrays = [arrow().array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return arrow().record_batch(arrays, schema)


def from_batch(batch: Any) -> list[Row]:  # noqa: ANN401
    """Return the rows of a record batch.

    Raises:
        InputError: It is none of a plan (``batch_plan_invalid``).
    """
    if not batch.schema.equals(plan_schema()):
        raise plan_invalid()
    try:
        batch.validate(full=True)
        columns = [column.to_pylist() for column in batch.columns]
    except (arrow().ArrowException, UnicodeDecodeError):
        raise plan_invalid() from None
    if any(None in column for column in columns):
        raise plan_invalid()
    columns[:2] = [[data.decode("utf-8", "surrogateescape") for data in column] for column in columns[:2]]
    return [Row(*values) for values in zip(*columns, strict=True)]


def plan_invalid() -> InputError:
    """Return the error for a damaged plan."""
    return InputError(
        "expected the plan that the manifest describes, got a damaged file: use another output",
        code="batch_plan_invalid",
    )
