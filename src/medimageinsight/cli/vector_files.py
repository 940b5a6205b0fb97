"""Files of embeddings, written incrementally and moved to their path when they are complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from medimageinsight.cli.output import numbers, printable
from medimageinsight.datasets.vector_files import VECTOR_SUFFIXES, VectorNotes, parquet_metadata, write_notes
from medimageinsight.errors import InputError, missing_extra
from medimageinsight.files.atomic import replace_file

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.bundle import ModelIdentity
    from medimageinsight.images import ImageWarning

ROWS_IN_MEMORY = 1024  # rows of a Parquet file that are written together


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Result of a source: its embedding (D,) float32, or its error."""

    source: str
    embedding: NDArray[np.float32] | None = None
    error: InputError | None = None
    warnings: tuple[ImageWarning, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)  # ``parts`` of the JSON document, or empty

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"source", "embedding"}`` or ``{"source", "error"}`` for JSON, with ``warnings`` and ``parts``."""
        if self.error is not None:
            return {"source": self.source, "error": self.error.to_dict()}
        result = {"source": self.source, "embedding": None if self.embedding is None else numbers(self.embedding)}
        warnings = {"warnings": [warning.to_dict() for warning in self.warnings]} if self.warnings else {}
        return result | warnings | dict(self.parts)


Write: TypeAlias = Callable[[Result], None]
"""Function that writes the next result."""


def check_ending(path: Path) -> None:
    """Refuse a file with an ending that `new_vector_file` does not write.

    Raises:
        InputError: ``out_unknown``.
    """
    if path.suffix not in _KINDS:
        raise InputError(
            f"expected --out to end in {', '.join(_KINDS)}, got {path.suffix or 'no ending'}: rename it",
            code="out_unknown",
        )


def new_vector_file(path: Path, *, count: int, dim: int, model: ModelIdentity) -> AbstractContextManager[Write]:
    """Open a file for `count` results with embeddings of `dim` numbers; it appears when the block ends without error.

    The formats, and where they state the model and the sources, are those of `datasets.vector_files`.

    Raises:
        InputError: The name has another ending (``out_unknown``).
        MissingExtraError: Parquet without pyarrow.
    """
    check_ending(path)
    return _KINDS[path.suffix](path, count, dim, model)


@contextmanager
def _npy(path: Path, count: int, dim: int, model: ModelIdentity) -> Iterator[Write]:
    sources: list[str] = []
    missing = np.full(dim, np.nan, np.float32)
    with replace_file(path) as partial, partial.open("wb") as file:
        # Written as a stream: a full disk would end a process that writes to a memory-mapped file.
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
        np.lib.format.write_array_header_1_0(file, header)

        def write(result: Result) -> None:
            row = missing if result.embedding is None else result.embedding
            file.write(row.astype("<f4", copy=False).tobytes())
            sources.append(printable(result.source, limit=None))

        yield write
        file.flush()
        write_notes(path, VectorNotes(model=model, sources=tuple(sources)))


@contextmanager
def _jsonl(path: Path, count: int, dim: int, model: ModelIdentity) -> Iterator[Write]:  # noqa: ARG001
    with replace_file(path) as partial, partial.open("w", encoding="ascii") as file:

        def write(result: Result) -> None:
            file.write(json.dumps(result.to_dict(), allow_nan=False) + "\n")

        yield write
        file.flush()
        write_notes(path, VectorNotes(model=model))


@contextmanager
def _parquet(path: Path, count: int, dim: int, model: ModelIdentity) -> Iterator[Write]:  # noqa: ARG001
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("parquet", "writing Parquet") from None
    text = pa.string()
    schema = pa.schema(
        {"source": text, "embedding": pa.list_(pa.float32(), dim), "error_code": text, "error_message": text},
        metadata=parquet_metadata(VectorNotes(model=model)),
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


_KINDS = dict(zip(VECTOR_SUFFIXES, (_npy, _jsonl, _parquet), strict=True))
