"""Stop libtiff, which Pillow contains, from printing a line for every defect of a file on standard error."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache

from PIL import _imaging


@cache
def silence_libtiff() -> None:
    """Remove libtiff's error handler, once for the process; Pillow raises an exception in any case.

    Has no effect where Pillow's libtiff cannot be reached.
    """
    with contextlib.suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)
