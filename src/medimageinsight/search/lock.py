"""One writer at a time in a folder, among threads and processes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: threads are kept apart, processes are not
    fcntl = None  # type: ignore[assignment]

BETWEEN_PROCESSES = fcntl is not None


class WriterLock:
    """A lock that the system lets go of when its holder dies, however that happens.

    Args:
        file: An empty file that marks the lock; it stays.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and hold it in the block.

        Raises:
            OSError: The file cannot be made.
        """
        with self._thread, self._file.open("ab") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)  # closing the file lets go of it
            yield
