"""Keep the decoding libraries quiet, for the calling thread only.

pydicom and Pillow warn about every malformed value and quote it, which may be a patient's name. The standard
``warnings.catch_warnings`` swaps a list that all threads share, so images decoded in parallel would undo each other's
settings. Here one filter stays in that list for good and matches only while the current thread is inside `quiet`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _State(threading.local):
    depth = 0


_state = _State()
_LOGGERS = ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils")


class _WhileQuiet(type):
    def __subclasscheck__(cls, category: type) -> bool:
        return _state.depth > 0


class _Muted(Warning, metaclass=_WhileQuiet):
    """Every warning's base class while the thread is quiet, nobody's otherwise."""


class _LogFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the signature is logging's
        return _state.depth == 0


_log_filter = _LogFilter()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings, and pydicom's log, that the current thread causes inside the block."""
    if not warnings.filters or warnings.filters[0][2] is not _Muted:
        warnings.filterwarnings("ignore", category=_Muted)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_log_filter)
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
