"""The results of a batch in the form of the hosted batch endpoint: ``predictions.csv``."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from medimageinsight.batch.manifest import part_name
from medimageinsight.batch.plan import Part, open_output, read_part_rows
from medimageinsight.batch.rows import WHOLE, arrow
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.batch.manifest import Manifest
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
    index = 0
    for shard in manifest.shards:
        for position in range(shard.parts):
            rows = min(manifest.options.part_rows, shard.rows - position * manifest.options.part_rows)
            planned = read_part_rows(Part(out=out, index=index, rows=rows))
            files = [row.key if row.table == WHOLE else manifest.tables[row.table] for row in planned]
            text = io.StringIO(newline="")
            writer = csv.writer(text)
            for name, values in zip(files, _read_part(storage, index), strict=True):
                number = numbers[name] = numbers.get(name, -1) + 1
                shown = name.encode("utf-8", "backslashreplace").decode()
                writer.writerow((number, json.dumps(_prediction(values)), shown))
            yield text.getvalue().encode()
            index += 1


def _read_part(storage: Storage, index: int) -> Sequence[dict[str, Any]]:
    content = storage.read(part_name(index), limit=MAX_PART_BYTES)
    if content is None:
        raise InputError(
            f"expected a complete output, got one without {part_name(index)}: repeat the call", code="batch_incomplete"
        )
    rows: Sequence[dict[str, Any]] = arrow().parquet.read_table(arrow().BufferReader(content)).to_pylist()
    return rows


def _prediction(values: dict[str, Any]) -> dict[str, Any]:
    if values["error_code"] is not None:
        return {"error": {"code": values["error_code"], "message": values["error_message"]}}
    prediction: dict[str, Any] = {}
    if values["embedding"] is not None:
        prediction["image_features"] = [_numbers(values["embedding"])]
    if values.get("text_embedding") is not None:
        prediction["text_features"] = _numbers(values["text_embedding"])
    return prediction


def _numbers(vector: Sequence[float]) -> list[float]:
    """Return float32 values in the fewest digits that read back as the same."""
    import numpy as np

    return [float(str(np.float32(value))) for value in vector]
