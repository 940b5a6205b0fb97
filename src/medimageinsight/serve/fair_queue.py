"""A queue in which requests take turns: first the owners of requests, then the requests of an owner."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_T = TypeVar("_T")

OWNER: ContextVar[str] = ContextVar("OWNER", default="")
"""Who sent the current request: the name of its key, or nothing."""


class FairQueue(Generic[_T]):
    """Items of requests. Each call of `pop` continues with the next owner, and with its next request.

    queue = FairQueue()
    queue.push("a1", "a", 1), queue.push("a2", "a", 1), queue.push("b1", "b", 2)
    queue.pop(), queue.pop(), queue.pop()        # "a1", "b1", "a2"
    """

    def __init__(self) -> None:
        self._urgent: deque[tuple[Hashable, _T]] = deque()
        self._owners: OrderedDict[str, OrderedDict[Hashable, deque[_T]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: _T, owner: str, request: Hashable, *, urgent: bool = False) -> None:
        """Append an item to those of its request; an urgent one goes before all that are in the queue."""
        self._count += 1
        if urgent:
            self._urgent.appendleft((request, item))
        else:
            self._owners.setdefault(owner, OrderedDict()).setdefault(request, deque()).append(item)

    def pop(self, accept: Callable[[_T], bool] = lambda _: True) -> _T | None:
        """Remove and return the next item; None if there is none.

        Args:
            accept: Whether an item may be removed now; otherwise the next request has its turn.
        """
        if self._urgent and accept(self._urgent[0][1]):
            self._count -= 1
            return self._urgent.popleft()[1]
        for owner, requests in self._owners.items():
            for request, items in requests.items():
                if accept(items[0]):
                    return self._take(owner, request)
        return None

    def discard(self, owner: str, request: Hashable) -> list[_T]:
        """Remove and return all items of a request."""
        items = [item for of, item in self._urgent if of == request]
        if items:
            self._urgent = deque((of, item) for of, item in self._urgent if of != request)
        requests = self._owners.get(owner, OrderedDict())
        items += requests.pop(request, ())
        if not requests:
            self._owners.pop(owner, None)
        self._count -= len(items)
        return items

    def clear(self) -> list[_T]:
        """Remove and return all items."""
        items = [item for _, item in self._urgent]
        items += (item for requests in self._owners.values() for queued in requests.values() for item in queued)
        self._urgent.clear()
        self._owners.clear()
        self._count = 0
        return items

    def _take(self, owner: str, request: Hashable) -> _T:
        """Remove the first item of a request, and let all others have their turn before its next one."""
        requests = self._owners[owner]
        items = requests[request]
        item = items.popleft()
        requests.move_to_end(request)
        self._owners.move_to_end(owner)
        if not items:
            del requests[request]
        if not requests:
            del self._owners[owner]
        self._count -= 1
        return item


class FairPlaces:
    """A number of places, which the requests of one event loop take in turn.

    Args:
        count: The number of places.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    async def take(self, owner: str, request: Hashable) -> None:
        """Wait for a place, which the caller gives back with `leave`; cancelled, it has none."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.push(turn, owner, request)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came in the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place to the next that waits."""
        while (turn := self._waiting.pop()) is not None:
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                return
        self._free += 1
