"""The request: cells that go together, and the table they are sent in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from medimageinsight.client.rows import Column

LARGEST_BODY = 50 << 20
"""Characters of a request's cells, half of what a server of this project takes by default."""

_T = TypeVar("_T")


def batches(cells: Iterable[_T], most: int) -> Generator[list[_T]]:
    """At most ``most`` cells together, and no more than fit a body; errors among them weigh nothing."""
    batch: list[_T] = []
    size = 0
    for cell in cells:
        length = len(cell) if isinstance(cell, str) else 0
        if batch and (len(batch) == most or size + length > LARGEST_BODY):
            yield batch
            batch, size = [], 0
        batch.append(cell)
        size += length
    if batch:
        yield batch


def request_body(column: Column, cells: Sequence[str], params: Mapping[str, object]) -> bytes:
    """The JSON of one request, a row for each cell, whose other cell is missing."""
    data = [[cell, None] if column == "image" else [None, cell] for cell in cells]
    table = {"columns": ["image", "text"], "index": list(range(len(data))), "data": data}
    return json.dumps({"input_data": table, "params": params}).encode()
