"""Settings of the C library's memory allocator for a process that runs for long."""

from __future__ import annotations

import contextlib
import ctypes
import os

_M_MMAP_THRESHOLD = -3  # of malloc.h
_THRESHOLD = 1 << 20  # bytes; pixels of large images exceed it, those of a small model's input do not


def return_large_blocks() -> None:
    """Let the C library give large blocks back to the system when they are freed.

    By default, glibc raises its threshold with each large block that is freed. Later ones then come from heaps, in
    which smaller blocks that last longer keep them from being given back: a server that had decoded large images used
    up to half as much memory again. Has no effect with other libraries, and where the environment sets the threshold.
    """
    if os.name != "posix" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
