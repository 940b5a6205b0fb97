"""Embed one part of a batch and write it: the work of a worker, whatever engine runs it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.batch.locations import local_path, read_object, stat_location
from medimageinsight.batch.plan import open_output, read_part_rows
from medimageinsight.batch.rows import WHOLE, arrow
from medimageinsight.batch.tables import Cells, cell_source, read_table_rows
from medimageinsight.datasets.vector_files import VectorNotes, parquet_metadata
from medimageinsight.errors import DatasetError, ImageError, InputError, ModelError, TextError
from medimageinsight.images import DeferredImage, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.api import MedImageInsight
    from medimageinsight.batch.manifest import Manifest
    from medimageinsight.batch.plan import Part
    from medimageinsight.batch.rows import Row
    from medimageinsight.images import DecodedImage, Source, WindowSelection


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """What became of a part.

    Attributes:
        rows: Rows that were computed; 0 if the part was there already.
        errors: Code of an error to the number of rows with it.
        written: Whether this call wrote it; another may have been faster.
    """

    rows: int
    errors: Mapping[str, int] = field(default_factory=dict)
    written: bool = True


class _Results:
    """The columns of a part."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.keys = [row.key.encode("utf-8", "backslashreplace").decode() for row in rows]
        self.embeddings: list[NDArray[np.float32] | None] = []
        self.errors: list[InputError | None] = []
        self.texts: dict[int, str] = {}  # of a row
        self.text_embeddings: list[NDArray[np.float32] | None] = [None] * len(rows)

    def count_errors(self) -> Counter[str]:
        return Counter(error.code for error in self.errors if error is not None)


class _Failed(DeferredImage):
    """A row without an image that can be opened."""

    def __init__(self, error: InputError) -> None:
        self.error = ImageError(error.message, code=error.code)  # `images.open` passes on no other

    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:  # noqa: ARG002
        raise self.error


class _ObjectImage(DeferredImage):
    """An image in an object store, which is read in the thread that decodes it."""

    def __init__(self, location: str, frame: int) -> None:
        self._location = location
        self._frame = frame

    def decode(self, *, window: WindowSelection | None, limits: Limits) -> DecodedImage:
        from medimageinsight import images

        return images.open(read_object(self._location, limits), frame=self._frame, window=window, limits=limits)


def embed_part(
    part: Part, model: MedImageInsight, *, progress: Callable[[int, Counter[str]], None] | None = None
) -> PartResult:
    """Embed the rows of a part, and write it whole, unless it is there.

    Args:
        part: As `list_parts` yields them.
        model: The model that the output was planned for.
        progress: Called with the number of rows done and their errors by code.

    Raises:
        ModelError: Another model (``batch_model_changed``), or it cannot be run.
        InputError: The plan is damaged, or a table has changed since (``batch_inputs_changed``).
    """
    storage, manifest = open_output(part.out)
    identity = model.identity.with_window(manifest.options.window)
    if not manifest.model.embeds_alike(identity):
        raise ModelError("expected the model that the output was planned for, got another", code="batch_model_changed")
    rows = read_part_rows(part)
    results = _Results(rows)
    options = manifest.options
    sources = _sources(rows, manifest, results)
    errors: Counter[str] = Counter()
    with closing(model.stream_images(sources, frame=options.frame, window=options.window)) as stream:
        for item in stream:
            results.embeddings.append(item.embedding)
            results.errors.append(item.error)
            if item.error is not None:
                errors[item.error.code] += 1
            if progress is not None:
                progress(item.index + 1, errors)
    _embed_texts(results, model, separate=options.texts)
    written = storage.create(part.name, _to_parquet(results, manifest, _length(manifest)))
    return PartResult(rows=part.rows, errors=results.count_errors(), written=written)


def _length(manifest: Manifest) -> int:
    from medimageinsight.studies import STATISTICS

    parts = len(STATISTICS) if manifest.options.pooling == "statistics" else 1
    return manifest.model.embedding_dim * parts


def _sources(rows: Sequence[Row], manifest: Manifest, results: _Results) -> Iterator[Source]:
    """Yield the source of each row, and record the texts of rows."""
    cells = _TableCells(manifest)
    limits = Limits(accept_maps=manifest.options.accept_maps)
    for index, row in enumerate(rows):
        try:
            location: str | bytes = row.location
            if row.table != WHOLE:
                found = cells.read(row)
                if found.text and (manifest.options.texts or not found.image):
                    results.texts[index] = found.text
                location = cell_source(found, manifest.tables[row.table], manifest.options, limits)
            yield _open(location, row, manifest)
        except InputError as error:
            yield _Failed(error)


def _open(location: str | bytes, row: Row, manifest: Manifest) -> Source:
    if manifest.options.level == "series":
        from medimageinsight.batch.series import open_series

        return open_series(location, row.series, manifest.options)
    if isinstance(location, bytes):
        return location
    path = local_path(location)
    return _ObjectImage(location, manifest.options.frame) if path is None else Path(path)


class _TableCells:
    """Reads the cells of rows, which follow each other in their tables."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._open: dict[int, Iterator[Cells]] = {}

    def read(self, row: Row) -> Cells:
        if row.table not in self._open:
            location = self._manifest.tables[row.table]
            if stat_location(location) != (row.size, row.version):
                raise _changed()
            self._open = {row.table: read_table_rows(location, self._manifest.options, row.offset)}
        try:
            for cells in self._open[row.table]:
                if cells.offset == row.offset:
                    return cells
        except (OSError, DatasetError):
            raise _changed() from None
        raise _changed()


class TableChangedError(ModelError):
    """A table that is not the one that was planned: the part is not written."""


def _changed() -> TableChangedError:
    return TableChangedError(
        "expected the tables that this output was planned for, got one that has changed: use another output",
        code="batch_inputs_changed",
    )


def _embed_texts(results: _Results, model: MedImageInsight, *, separate: bool) -> None:
    """Embed the texts of rows; without `separate` they are the embeddings of rows without an image."""
    for index, text in results.texts.items():
        missing = results.errors[index]
        error, vector = None, None
        try:
            vector = model.embed_texts(text)
        except TextError as raised:
            error = raised
        if separate:
            results.text_embeddings[index] = vector
        else:
            results.embeddings[index] = vector
        if missing is None or missing.code == "image_missing":
            results.errors[index] = error


def _to_parquet(results: _Results, manifest: Manifest, length: int) -> bytes:
    pa = arrow()
    vector = pa.list_(pa.float32(), length)
    columns: dict[str, Any] = {
        "key": pa.array(results.keys, pa.string()),
        "embedding": _vectors(results.embeddings, length, vector),
        "error_code": pa.array([error and error.code for error in results.errors], pa.string()),
        "error_message": pa.array([error and error.message for error in results.errors], pa.string()),
        "model": pa.array([manifest.model.name] * len(results.keys), pa.string()),
        "preprocessing": pa.array([_preprocessing(manifest)] * len(results.keys), pa.string()),
    }
    if manifest.options.texts:
        size = manifest.model.embedding_dim
        columns["text_embedding"] = _vectors(results.text_embeddings, size, pa.list_(pa.float32(), size))
    table = pa.table(columns).replace_schema_metadata(parquet_metadata(VectorNotes(model=manifest.model)))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _vectors(vectors: Sequence[NDArray[np.float32] | None], length: int, kind: Any) -> Any:  # noqa: ANN401
    pa = arrow()
    empty = np.zeros(length, np.float32)
    flat = np.concatenate([empty if vector is None else vector for vector in vectors])
    missing = pa.array([vector is None for vector in vectors])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind, mask=missing)


def _preprocessing(manifest: Manifest) -> str:
    return manifest.model.describe_preprocessing().removeprefix("preprocessing ")
