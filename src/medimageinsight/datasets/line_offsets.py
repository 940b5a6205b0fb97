"""Byte offsets of the lines of a large file, so that any line can be read without the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_CHUNK = 16 << 20  # bytes
_NEWLINE = 10


def line_offsets(path: Path) -> NDArray[np.int64]:
    """Return the byte offset of each line and the end of the last: (lines + 1,) int64.

    The file is read once, in chunks. A newline at the end of the file ends its last line and does not start another.

    Raises:
        OSError: The file cannot be read.
    """
    chunks = [np.zeros(1, np.int64)]
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            chunks.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE) + position + 1)
            position += len(chunk)
    offsets = np.concatenate(chunks)
    return offsets if offsets[-1] == position else np.append(offsets, position)


def iter_first_cells(
    path: Path, offsets: NDArray[np.int64], *, limit: int
) -> Iterator[tuple[int, bytes | None, int, int]]:
    """Yield the index and the first cell of each line that is not empty, and start and end of what follows its tab.

    ``offsets`` are of `line_offsets`. The cell is None if there is no tab within ``limit`` bytes.
    """
    with path.open("rb") as file:
        for index, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            file.seek(start)
            head = file.read(min(limit + 1, end - start))
            if not head.strip(b"\r\n"):
                continue
            cell, tab, _ = head.partition(b"\t")
            file.seek(max(start, end - 2))
            stop = end - (tail := file.read(end - max(start, end - 2))).endswith(b"\n")
            stop -= tail.rstrip(b"\n").endswith(b"\r")
            yield (index, cell, start + len(cell) + 1, stop) if tab else (index, None, start, stop)
