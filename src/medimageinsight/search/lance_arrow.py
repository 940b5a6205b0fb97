"""Rows as LanceDB takes and gives them: Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medimageinsight.search.columns import converted

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from medimageinsight.search.rows import Rows
    from medimageinsight.search.values import ColumnType

OWN_FIELDS = ("id", "path", "embedding")
DISTANCE = "_distance"  # how LanceDB names it
_COLUMN_TYPES: dict[str, ColumnType] = {
    "string": "string",
    "int64": "integer",
    "double": "float",
    "bool": "boolean",
}


def new_schema(dim: int, about: dict[bytes, str]) -> pa.Schema:
    """The schema of a table for embeddings of `dim` numbers, with what it says of itself."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
        ],
        metadata=about,
    )


def new_field(name: str, kind: ColumnType) -> pa.Field:
    """A metadata column."""
    import pyarrow as pa

    types = {"string": pa.string(), "integer": pa.int64(), "float": pa.float64(), "boolean": pa.bool_()}
    return pa.field(name, types[kind])


def column_type(type_: pa.DataType) -> ColumnType:
    """The type of a metadata column."""
    return _COLUMN_TYPES[str(type_)]


def to_arrow(rows: Rows, schema: pa.Schema) -> pa.Table:
    """Rows with all columns of a table; those that they do not have are empty."""
    import pyarrow as pa

    flat = pa.array(rows.embeddings.ravel())
    arrays: dict[str, Any] = {
        "id": rows.ids,
        "path": rows.paths,
        "embedding": pa.FixedSizeListArray.from_arrays(flat, rows.embeddings.shape[1]),
    }
    for field in schema:
        if field.name not in OWN_FIELDS:
            cells = rows.values.get(field.name, [None] * len(rows))
            arrays[field.name] = converted(cells, column_type(field.type))
    return pa.table(arrays, schema=schema)


def to_numpy(column: pa.FixedSizeListArray) -> NDArray[np.float32]:
    """Embeddings (N, D) float32."""
    flat: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def metadata_of(row: dict[str, Any]) -> dict[str, Any]:
    """The metadata columns of a row that have a value."""
    return {name: value for name, value in row.items() if value is not None and name not in (*OWN_FIELDS, DISTANCE)}


def score_of(distance: float) -> float:
    """The cosine similarity of a cosine distance."""
    return max(-1.0, min(1.0, 1.0 - distance))
