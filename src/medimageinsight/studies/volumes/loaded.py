"""The values of volumes in use: read once, shared by their slices in all threads, and freed when others are read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize

from medimageinsight.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.images import Limits
    from medimageinsight.studies.volumes.volume import Volume

_MAX_VOLUMES = 2  # at the border of two series, threads work on both
_SMALL_BYTES = 256 << 20  # volumes that need no more than this together stay, whatever their number

_lock = threading.Lock()
_reading: WeakKeyDictionary[Volume, threading.Lock] = WeakKeyDictionary()
_loaded: OrderedDict[int, NDArray[Any] | ImageError] = OrderedDict()  # by id of the volume, the latest last


def load(volume: Volume, limits: Limits) -> NDArray[Any]:
    """Return the stored values of a volume, not to be changed.

    Raises:
        ImageError: They cannot be read; a second call does not try again.
    """
    with _lock:
        reading = _reading.get(volume)
        if reading is None:
            reading = _reading[volume] = threading.Lock()
            finalize(volume, _loaded.pop, id(volume), None)
    with reading:  # other threads wait for the one that reads
        with _lock:
            found = _loaded.get(id(volume))
            if found is not None:
                _loaded.move_to_end(id(volume))
        if found is None:
            _make_room(volume.size)
            found = _read(volume, limits)
            with _lock:
                _loaded[id(volume)] = found
    if isinstance(found, ImageError):
        raise type(found)(found.message, code=found.code)
    return found


def _read(volume: Volume, limits: Limits) -> NDArray[Any] | ImageError:
    try:
        return volume.load(limits)
    except ImageError as error:
        return error


def _make_room(size: int) -> None:
    """Forget the volumes that were not used for longest, until the next fits."""
    with _lock:
        while _loaded:
            sizes = [0 if isinstance(values, ImageError) else values.nbytes for values in _loaded.values()]
            if len(_loaded) < _MAX_VOLUMES or sum(sizes) + size <= _SMALL_BYTES:
                break
            _loaded.popitem(last=False)
