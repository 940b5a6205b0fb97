"""Cache of text embeddings: clients send the same few labels with each image."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

MAX_CHARACTERS = 1000  # longer texts are not cached, which bounds the cache in bytes


@dataclass(eq=False)
class _Pending:
    future: asyncio.Future[NDArray[np.float32]]
    waiters: int = 0


class TextCache:
    """Least-recently-used cache of text embeddings, which also shares pending ones. For one event loop.

    Args:
        size: Maximum number of cached embeddings; with 0, only pending ones are shared.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._cached: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._pending: dict[str, _Pending] = {}

    def get(self, text: str) -> NDArray[np.float32] | None:
        """Return the cached embedding of a text, (D,) float32, or None."""
        if text in self._cached:
            self._cached.move_to_end(text)
        return self._cached.get(text)

    async def share(self, text: str, submit: Callable[[], asyncio.Future[NDArray[np.float32]]]) -> NDArray[np.float32]:
        """Return the result of ``submit``, which is called once for concurrent callers with the same text.

        The work is cancelled when all callers are cancelled.
        """
        pending = self._pending.get(text)
        if pending is None:
            pending = self._pending[text] = _Pending(submit())
            pending.future.add_done_callback(lambda future: self._store(text, future))
        pending.waiters += 1
        try:
            return await asyncio.shield(pending.future)
        finally:
            pending.waiters -= 1
            if not pending.waiters and not pending.future.done():
                del self._pending[text]  # before the cancellation, so that no later caller joins it
                pending.future.cancel()

    def _store(self, text: str, future: asyncio.Future[NDArray[np.float32]]) -> None:
        pending = self._pending.get(text)
        if pending is not None and pending.future is future:
            del self._pending[text]
        if future.cancelled() or future.exception() is not None or len(text) > MAX_CHARACTERS:
            return
        self._cached[text] = future.result().copy()  # a view would keep its whole batch in memory
        while len(self._cached) > self._size:
            self._cached.popitem(last=False)
