"""Conversion between rows of a store and LanceDB's Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.search.columns import convert_column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from medimageinsight.search.records import ColumnType
    from medimageinsight.search.rows import Rows

OWN_FIELDS = ("id", "path", "embedding")
DISTANCE = "_distance"  # LanceDB's name
_ARROW_TYPES: dict[ColumnType, str] = {"string": "string", "integer": "int64", "float": "double", "boolean": "bool"}


def new_field(name: str, kind: ColumnType) -> pa.Field:
    """Return the field of a metadata column."""
    import pyarrow as pa

    return pa.field(name, pa.type_for_alias(_ARROW_TYPES[kind]))


def column_type(type_: pa.DataType) -> ColumnType:
    """Return the type of a metadata column."""
    return next(kind for kind, name in _ARROW_TYPES.items() if name == str(type_))


def to_arrow(rows: Rows, schema: pa.Schema) -> pa.Table:
    """Return rows with all columns of a table; columns that the rows lack are empty."""
    import pyarrow as pa

    flat = pa.array(rows.embeddings.ravel())
    arrays: dict[str, Any] = {
        "id": rows.ids,
        "path": rows.paths,
        "embedding": pa.FixedSizeListArray.from_arrays(flat, rows.embeddings.shape[1]),
    }
    for field in schema:
        if field.name not in OWN_FIELDS:
            values = rows.values.get(field.name, [None] * len(rows))
            arrays[field.name] = convert_column(values, column_type(field.type))
    return pa.table(arrays, schema=schema)


def to_numpy(column: pa.FixedSizeListArray) -> NDArray[np.float32]:
    """Return embeddings (N, D) float32."""
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def metadata_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata columns of a row that have a value."""
    return {name: value for name, value in row.items() if value is not None and name not in (*OWN_FIELDS, DISTANCE)}
