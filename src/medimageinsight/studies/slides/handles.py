"""Slides that are opened when they are read, and closed when others are read or nothing refers to them."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.studies.slides.opening import open_pyramid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medimageinsight.studies.files import StudyFile
    from medimageinsight.studies.slides.pyramid import Pyramid

_MAX_OPEN = 4

_lock = threading.Lock()
_open_handles: list[weakref.ref[SlideHandle]] = []  # the last used at the end


class SlideHandle:
    """A slide that several threads read. At most four are open at once, besides those being read."""

    def __init__(self, files: Sequence[StudyFile]) -> None:
        self.files = tuple(files)
        self._pyramid: Pyramid | None = None
        self._users = 0
        self._opening = threading.Lock()

    @contextmanager
    def use(self) -> Iterator[Pyramid]:
        """Yield the open slide, which stays open at least to the end of the block.

        Raises:
            ImageError: It cannot be opened, see `open_pyramid`.
            OSError: A file cannot be opened.
        """
        with self._opening:
            with _lock:
                self._users += 1
            try:
                if self._pyramid is None:
                    self._pyramid = open_pyramid(self.files)
            except BaseException:
                with _lock:
                    self._users -= 1
                raise
        pyramid = self._pyramid
        _close_others(self)
        try:
            yield pyramid
        finally:
            with _lock:
                self._users -= 1

    def __del__(self) -> None:
        pyramid, self._pyramid = self._pyramid, None
        if pyramid is not None:
            pyramid.close()


def _close_others(used: SlideHandle) -> None:
    """Note the use of a handle, and close those that were not used for the longest time."""
    idle: list[Pyramid] = []
    with _lock:
        handles = [handle for ref in _open_handles if (handle := ref()) is not None and handle is not used]
        handles.append(used)
        excess = len(handles) - _MAX_OPEN
        for handle in handles[: max(0, excess)]:
            if not handle._users and handle._pyramid is not None:
                idle.append(handle._pyramid)
                handle._pyramid = None
        _open_handles[:] = [weakref.ref(handle) for handle in handles if handle._pyramid is not None]
    for pyramid in idle:
        pyramid.close()
