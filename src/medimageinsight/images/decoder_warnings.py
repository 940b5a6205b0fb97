"""Suppress the warnings and logs of the decoding libraries, for the calling thread only.

pydicom, tifffile and Pillow warn about every malformed value and quote it, which may be a patient's name. The standard
``warnings.catch_warnings`` replaces a list that all threads share, so images decoded in parallel would undo each
other's settings. Here one permanent filter in that list matches only while the current thread is inside
`suppress_decoder_warnings`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class _ThreadState(threading.local):
    depth = 0


_state = _ThreadState()
_LOGGERS = tuple(
    map(
        logging.getLogger,
        (
            *("PIL.TiffImagePlugin", "imagecodecs", "tifffile"),
            *("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"),
        ),
    )
)


class _MatchesWhileSuppressed(type):
    def __subclasscheck__(cls, category: type) -> bool:
        return _state.depth > 0


class _Suppressed(Warning, metaclass=_MatchesWhileSuppressed):
    """A base class of every warning while the thread suppresses warnings, of none otherwise."""


class _LogFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the signature is logging's
        return _state.depth == 0


_log_filter = _LogFilter()


@contextmanager
def suppress_decoder_warnings() -> Iterator[None]:
    """Suppress warnings, and the logs of the decoding libraries, that the current thread causes inside the block."""
    if not warnings.filters or warnings.filters[0][2] is not _Suppressed:
        warnings.filterwarnings("ignore", category=_Suppressed)
    for logger in _LOGGERS:
        logger.addFilter(_log_filter)
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
