"""Bound the memory of all decoders of the process together."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medimageinsight.images.limits import Limits


class _Reserved:
    bytes = 0


_reserved = _Reserved()
_changed = threading.Condition()
_queue = threading.Lock()  # held by the thread that waits first, so that small images cannot overtake a large one


@contextmanager
def reserve(count: int, limits: Limits) -> Iterator[None]:
    """Reserve the bytes that decoding needs, for as long as the block runs; wait while other threads hold too many.

    A block must not reserve again and must not wait for another thread: so every block ends, and no thread waits for
    ever.

    Raises:
        ImageError: ``image_too_large`` if the count exceeds ``limits.max_decoded_bytes`` by itself.
    """
    if count > limits.max_decoded_bytes:
        raise ImageError(
            f"expected an image that needs at most {limits.max_decoded_bytes:,} bytes to be decoded, "
            f"got one that needs {count:,}: scale it down, cut it into tiles or raise the limit",
            code="image_too_large",
        )
    with _queue, _changed:
        _changed.wait_for(lambda: _reserved.bytes + count <= limits.max_decoded_bytes)
        _reserved.bytes += count
    try:
        yield
    finally:
        with _changed:
            _reserved.bytes -= count
            _changed.notify_all()
