"""The results of a batch in the form of the hosted batch endpoint: ``predictions.csv``."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from medimageinsight.batch.plan import all_parts, open_output, read_part_rows
from medimageinsight.batch.rows import WHOLE, arrow
from medimageinsight.errors import InputError
from medimageinsight.metrics import shortest_floats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.batch.manifest import Manifest
    from medimageinsight.batch.plan import Part
    from medimageinsight.batch.storage import Storage

PREDICTIONS = "predictions.csv"
MAX_PART_BYTES = 4 << 30


def write_predictions(out: str) -> str:
    """Write the rows of a complete output as ``predictions.csv`` next to its parts, and return that name.

    As the hosted batch endpoint writes it, the file has no header. Its columns are the row's number in its file, the
    prediction as JSON, ``{"image_features": [[...]], "text_features": [...]}`` or ``{"error": {"code", "message"}}``,
    and the name of the file: the table, or the image.

    Raises:
        InputError: A part is missing (``batch_incomplete``).
    """
    storage, manifest = open_output(out)
    storage.replace(PREDICTIONS, _lines(storage, manifest, out))
    return PREDICTIONS


def _lines(storage: Storage, manifest: Manifest, out: str) -> Iterator[bytes]:
    """Yield the lines of each part."""
    numbers: dict[str, int] = {}
    for part in all_parts(out, manifest):
        files = [row.key if row.table == WHOLE else manifest.tables[row.table] for row in read_part_rows(part)]
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        for name, values in zip(files, _read_part(storage, part), strict=True):
            number = numbers[name] = numbers.get(name, -1) + 1
            shown = name.encode("utf-8", "backslashreplace").decode()
            writer.writerow((number, json.dumps(_prediction(values)), shown))
        yield text.getvalue().encode()


def _read_part(storage: Storage, part: Part) -> Sequence[dict[str, Any]]:
    content = storage.read(part.name, limit=MAX_PART_BYTES)
    if content is None:
        raise InputError(
            f"expected a complete output, got one without {part.name}: repeat the call", code="batch_incomplete"
        )
    rows: Sequence[dict[str, Any]] = arrow().parquet.read_table(arrow().BufferReader(content)).to_pylist()
    return rows


def _prediction(values: dict[str, Any]) -> dict[str, Any]:
    if values["error_code"] is not None:
        return {"error": {"code": values["error_code"], "message": values["error_message"]}}
    prediction: dict[str, Any] = {}
    if values["embedding"] is not None:
        prediction["image_features"] = [shortest_floats(np.asarray(values["embedding"], np.float32))]
    if values.get("text_embedding") is not None:
        prediction["text_features"] = shortest_floats(np.asarray(values["text_embedding"], np.float32))
    return prediction
