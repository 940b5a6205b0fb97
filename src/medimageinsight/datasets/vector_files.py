"""Files of embeddings with the names of their sources and the model that computed them, in three formats.

- ``.npy``: float32 (N, D), in the order of the sources. A failed source's row is all NaN.
- ``.jsonl``: one ``{"source", "embedding"}`` or ``{"source", "error"}`` per line.
- ``.parquet``: the columns source, embedding (null where it failed), error_code and error_message.

The model and the sources of ``F.npy`` are in ``F.npy.json``, the model of ``F.jsonl`` is in ``F.jsonl.json``, that of a
Parquet file in its metadata.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import ModelIdentity  # noqa: TC001 - `strict.build` reads the field's type
from medimageinsight.errors import InputError, ModelError
from medimageinsight.files import strict
from medimageinsight.files.columns import open_parquet
from medimageinsight.files.json import load_json, read_document, write_document

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from medimageinsight.bundle import VectorIdentity

VECTOR_SUFFIXES = (".npy", ".jsonl", ".parquet")
METADATA_KEY = b"medimageinsight"  # of a Parquet file's schema
_KIND = "vectors"
_MAX_NOTES = 1 << 30  # bytes: the names of ten million sources

logger = logging.getLogger("medimageinsight.files")


@dataclass(frozen=True, kw_only=True)
class VectorNotes:
    """What a file of vectors is about: its model, and its sources where the file itself does not have them."""

    model: ModelIdentity
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorFile:
    """Vectors that were read from a file.

    Attributes:
        vectors: (N, D) float32; the rows of failed sources are NaN.
        sources: N names, or None for an array without names.
        model: The model that computed them, or None if the file does not state it.
    """

    vectors: NDArray[np.float32]
    sources: Sequence[str] | None
    model: ModelIdentity | None

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """Which sources have a vector, (N,)."""
        return np.asarray(np.isfinite(self.vectors).all(axis=1))

    def check_model(self, used: VectorIdentity) -> None:
        """Refuse vectors of another model or preprocessing; a file that states none is only logged.

        Raises:
            InputError: ``vectors_other_model``.
        """
        if self.model is None:
            logger.warning("the file of vectors does not state its model, which is not checked")
        elif not self.model.embeds_alike(used):
            raise InputError(
                f"expected vectors of the model in use ({used.describe_preprocessing()}), got those of "
                f"{self.model.name} ({self.model.describe_preprocessing()}): embed the images again with this model",
                code="vectors_other_model",
            )


def is_vector_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file contains vectors; a Parquet file may also be a table of images."""
    file = Path(path)
    if file.suffix not in VECTOR_SUFFIXES or not file.is_file():
        return False
    if file.suffix != ".parquet":
        return True
    with open_parquet(file) as table:
        return {"source", "embedding"} <= set(table.schema_arrow.names)


def read_vectors(path: str | os.PathLike[str]) -> VectorFile:
    """Read a file that ``mi2 embed --out`` wrote; nothing in it is executed.

    Raises:
        InputError: It is no such file (``vectors_invalid``).
        OSError: It cannot be read.
        MissingExtraError: Parquet without pyarrow.
    """
    file = Path(path)
    read = {".npy": _read_npy, ".jsonl": _read_jsonl, ".parquet": _read_parquet}.get(file.suffix)
    if read is None:
        raise _invalid(f"a name that ends in {file.suffix or 'nothing'}")
    found = read(file)
    if found.sources is not None and len(found.sources) != len(found.vectors):
        raise _invalid(f"{len(found.vectors):,} vectors with {len(found.sources):,} names")
    return found


def write_notes(path: Path, notes: VectorNotes) -> None:
    """Write the model and sources of a ``.npy`` or ``.jsonl`` file next to it."""
    write_document(_notes_path(path), asdict(notes), kind=_KIND)


def parquet_metadata(notes: VectorNotes) -> dict[bytes, bytes]:
    """Return the metadata of a Parquet file's schema."""
    return {METADATA_KEY: json.dumps(asdict(notes)).encode()}


def _notes_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_notes(path: Path) -> VectorNotes | None:
    try:
        return read_document(_notes_path(path), VectorNotes, kind=_KIND, limit=_MAX_NOTES)
    except FileNotFoundError:
        return None
    except ModelError as error:
        raise _invalid(f"a damaged file of names next to it ({error.code})") from error


def _read_npy(path: Path) -> VectorFile:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        array = None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        found = f"an array {array.shape} of {array.dtype}" if isinstance(array, np.ndarray) else "no NumPy array"
        raise _invalid(found)
    notes = _read_notes(path)
    return VectorFile(
        vectors=array.astype(np.float32, copy=False),
        sources=None if notes is None else notes.sources,
        model=None if notes is None else notes.model,
    )


def _read_jsonl(path: Path) -> VectorFile:
    try:
        with path.open(encoding="utf-8") as file:
            rows = [load_json(line) for line in file if line.strip()]
        sources = [str(row["source"]) for row in rows]
        vectors = _stack(row.get("embedding") for row in rows)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _invalid("lines of another form") from error
    notes = _read_notes(path)
    return VectorFile(vectors=vectors, sources=sources, model=None if notes is None else notes.model)


def _read_parquet(path: Path) -> VectorFile:
    with open_parquet(path) as table:
        schema = table.schema_arrow
        if not {"source", "embedding"} <= set(schema.names):
            raise _invalid("a table without the columns source and embedding")
        data = table.read(columns=["source", "embedding"]).to_pydict()
    try:
        vectors = _stack(data["embedding"])
        content = (schema.metadata or {}).get(METADATA_KEY)
        notes = None if content is None else strict.build(VectorNotes, load_json(content), _KIND)
    except (ValueError, TypeError, strict.MappingError) as error:
        raise _invalid("a column embedding of another form") from error
    return VectorFile(vectors=vectors, sources=data["source"], model=None if notes is None else notes.model)


def _stack(rows: Iterable[Sequence[float] | None]) -> NDArray[np.float32]:
    """Return (N, D) float32; NaN for None."""
    listed = list(rows)
    dims = {len(row) for row in listed if row is not None}
    if len(dims) != 1:
        raise ValueError("expected vectors of one length")
    missing = np.full(dims.pop(), np.nan, np.float32)
    return np.stack([missing if row is None else np.asarray(row, np.float32) for row in listed])


def _invalid(found: str) -> InputError:
    return InputError(
        f"expected vectors as mi2 embed --out writes them, got {found}: embed the images again", code="vectors_invalid"
    )
