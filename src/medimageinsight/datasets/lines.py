"""Where the lines of a large file begin, so that any of them is read without the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_CHUNK = 16 << 20  # bytes
_NEWLINE = 10


def line_starts(path: Path) -> NDArray[np.int64]:
    """(lines + 1,) int64: the byte at which each line begins, and the end of the last.

    The file passes by once, in chunks. A newline at the end of the file ends its last line and begins none.

    Raises:
        OSError: The file cannot be read.
    """
    found = [np.zeros(1, np.int64)]
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == _NEWLINE) + position + 1)
            position += len(chunk)
    starts = np.concatenate(found)
    return starts if starts[-1] == position else np.append(starts, position)


def first_cells(path: Path, starts: NDArray[np.int64], *, limit: int) -> Iterator[tuple[int, bytes | None, int, int]]:
    """For each line that is not empty: its index, its first cell, and where the rest begins and ends.

    Args:
        path: The file, tab separated.
        starts: As `line_starts` gives them.
        limit: Most bytes a first cell may have.

    Yields:
        Index of the line, its first cell (None: no tab within the limit), start and end of what is behind the tab.
    """
    with path.open("rb") as file:
        for index, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
            file.seek(start)
            head = file.read(min(limit + 1, end - start))
            if not head.strip(b"\r\n"):
                continue
            cell, tab, _ = head.partition(b"\t")
            file.seek(max(start, end - 2))
            stop = end - (tail := file.read(end - max(start, end - 2))).endswith(b"\n")
            stop -= tail.rstrip(b"\n").endswith(b"\r")
            yield (index, cell, start + len(cell) + 1, stop) if tab else (index, None, start, stop)
