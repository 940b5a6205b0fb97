"""Equal texts in flight and recent texts are embedded once: clients send the same few labels with each image."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

LONGEST_KEPT = 1000  # characters; labels are short, and the cache is to be bounded in bytes too


@dataclass(eq=False)
class _Shared:
    future: asyncio.Future[NDArray[np.float32]]
    waiters: int = 0


class TextCache:
    """Embeddings of recent texts, the least recently used dropped first. For one event loop.

    Args:
        size: Embeddings that are kept; 0 keeps none, but still shares those in flight.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._in_flight: dict[str, _Shared] = {}

    def get(self, text: str) -> NDArray[np.float32] | None:
        """The embedding of a recent text, (D,) float32."""
        if text in self._kept:
            self._kept.move_to_end(text)
        return self._kept.get(text)

    async def share(self, text: str, submit: Callable[[], asyncio.Future[NDArray[np.float32]]]) -> NDArray[np.float32]:
        """What ``submit`` gives for the text, asked for once by all who wait for it at the same time.

        The work is cancelled when the last who waits for it is.
        """
        shared = self._in_flight.get(text)
        if shared is None:
            shared = self._in_flight[text] = _Shared(submit())
            shared.future.add_done_callback(lambda future: self._keep(text, future))
        shared.waiters += 1
        try:
            return await asyncio.shield(shared.future)
        finally:
            shared.waiters -= 1
            if not shared.waiters and not shared.future.done():
                del self._in_flight[text]  # at once: a later caller must not join what is being cancelled
                shared.future.cancel()

    def _keep(self, text: str, future: asyncio.Future[NDArray[np.float32]]) -> None:
        shared = self._in_flight.get(text)
        if shared is not None and shared.future is future:
            del self._in_flight[text]
        if future.cancelled() or future.exception() is not None or len(text) > LONGEST_KEPT:
            return
        self._kept[text] = future.result().copy()  # not a view that keeps its whole batch alive
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)
