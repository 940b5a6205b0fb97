"""Files of embeddings, written as the embeddings come and put in their place when they are whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.cli.output import numbers, printable
from medimageinsight.errors import InputError, missing_extra
from medimageinsight.files.atomic import replace_file

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

ROWS_IN_MEMORY = 1024  # of a Parquet file, written together


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What became of one source: its embedding (D,) float32 or its error, the other is None."""

    source: str
    embedding: NDArray[np.float32] | None = None
    error: InputError | None = None

    def to_dict(self) -> dict[str, Any]:
        """``{"source", "embedding"}`` or ``{"source", "error"}``, the form of the JSON documents."""
        if self.error is not None:
            return {"source": self.source, "error": self.error.to_dict()}
        return {"source": self.source, "embedding": None if self.embedding is None else numbers(self.embedding)}


Write: TypeAlias = Callable[[Result], None]
"""Takes the results one after the other."""


def check_ending(path: Path) -> None:
    """Refuse a file of another kind than those of `new_vector_file`.

    Raises:
        InputError: ``out_unknown``.
    """
    if path.suffix not in _KINDS:
        raise InputError(
            f"expected --out to end in {', '.join(_KINDS)}, got {path.suffix or 'no ending'}: rename it",
            code="out_unknown",
        )


def new_vector_file(path: Path, *, count: int, dim: int) -> AbstractContextManager[Write]:
    """A file for `count` results with embeddings of `dim` numbers; it is there when the block ends without an error.

    - ``.npy``: float32 (count, dim), row for row as the sources came. A failed source's row is NaN throughout.
    - ``.jsonl``: one ``{"source", "embedding"}`` or ``{"source", "error"}`` a line.
    - ``.parquet``: the columns source, embedding (null where it failed), error_code and error_message.

    Raises:
        InputError: The name ends otherwise (``out_unknown``).
        MissingExtraError: Parquet without pyarrow.
    """
    check_ending(path)
    return _KINDS[path.suffix](path, count, dim)


@contextmanager
def _npy(path: Path, count: int, dim: int) -> Iterator[Write]:
    with replace_file(path) as partial:
        rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=(count, dim))
        places = iter(range(count))

        def write(result: Result) -> None:
            rows[next(places)] = np.nan if result.embedding is None else result.embedding

        yield write
        rows.flush()


@contextmanager
def _jsonl(path: Path, count: int, dim: int) -> Iterator[Write]:  # noqa: ARG001 - lines need neither
    with replace_file(path) as partial, partial.open("w", encoding="ascii") as file:

        def write(result: Result) -> None:
            file.write(json.dumps(result.to_dict(), allow_nan=False) + "\n")

        yield write


@contextmanager
def _parquet(path: Path, count: int, dim: int) -> Iterator[Write]:  # noqa: ARG001 - a table grows
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("parquet", "writing Parquet") from None
    text = pa.string()
    schema = pa.schema(
        {"source": text, "embedding": pa.list_(pa.float32(), dim), "error_code": text, "error_message": text}
    )
    rows: list[dict[str, Any]] = []
    with replace_file(path) as partial, pq.ParquetWriter(partial, schema) as file:

        def write_group() -> None:
            file.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def write(result: Result) -> None:
            rows.append(
                {
                    "source": printable(result.source, limit=None),
                    "embedding": result.embedding,
                    "error_code": result.error and result.error.code,
                    "error_message": result.error and result.error.message,
                }
            )
            if len(rows) == ROWS_IN_MEMORY:
                write_group()

        yield write
        write_group()


_KINDS = {".npy": _npy, ".jsonl": _jsonl, ".parquet": _parquet}
