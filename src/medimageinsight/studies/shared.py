"""What several images of a file need, such as the values of a volume: read once, shared by threads, and freed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary, finalize

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from medimageinsight.images import Limits

T = TypeVar("T")

_MAX_ITEMS = 2  # at the border of two series, threads work on both
_SMALL_BYTES = 256 << 20  # what needs no more than this together stays, whatever its number


class Shared(ABC, Generic[T]):
    """Something large that images share. A subclass compares by identity, and its images refer to it."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of the memory that it needs when it is read."""

    @abstractmethod
    def load(self, limits: Limits) -> T:
        """Read it; called once at a time.

        Raises:
            ImageError: It cannot be read.
        """

    def get(self, limits: Limits) -> T:
        """Return what `load` does, read when it is first needed and until others are read; not to be changed.

        Raises:
            ImageError: As `load`; a second call does not try again.
        """
        with _lock:
            reading = _reading.get(self)
            if reading is None:
                reading = _reading[self] = threading.Lock()
                finalize(self, _items.pop, id(self), None)
        with reading:  # other threads wait for the one that reads
            with _lock:
                item = _items.get(id(self))
                if item is not None:
                    _items.move_to_end(id(self))
            if item is None:
                _make_room(self.size)
                item = self._try(limits), self.size
                with _lock:
                    _items[id(self)] = item
        result = item[0]
        if isinstance(result, ImageError):
            raise type(result)(result.message, code=result.code)
        return cast("T", result)

    def _try(self, limits: Limits) -> T | ImageError:
        try:
            return self.load(limits)
        except ImageError as error:  # its traceback refers to this object, which would never be freed
            return type(error)(error.message, code=error.code)


_lock = threading.RLock()  # also taken while memory is freed
_reading: WeakKeyDictionary[Shared[Any], threading.Lock] = WeakKeyDictionary()
_items: OrderedDict[int, tuple[object, int]] = OrderedDict()  # by identity, the last used last: result or error, bytes


def _make_room(size: int) -> None:
    """Forget what was not used for longest, until the next fits."""
    with _lock:
        while len(_items) >= _MAX_ITEMS and size + sum(used for _, used in [*_items.values()]) > _SMALL_BYTES:
            _items.popitem(last=False)
