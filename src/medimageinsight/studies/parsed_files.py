"""Parsed DICOM files with several frames, so that each frame does not read its file again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import finalize

from medimageinsight.images import dicom
from medimageinsight.studies.files import DatasetFile

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pydicom.dataset import Dataset

    from medimageinsight.images import Limits
    from medimageinsight.studies.files import StudyFile

_MAX_BYTES = 256 << 20  # of all files together, or one larger file


@dataclass(eq=False)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    dataset: Dataset | None = None
    bytes: int = 0


_entries: OrderedDict[Hashable, _Entry] = OrderedDict()  # the last is the one used last
_lock = threading.RLock()  # also taken while memory is freed


def parse_file(file: StudyFile, limits: Limits) -> Dataset:
    """Return a DICOM file's dataset with its pixel data, parsed once for all threads that need it at about this time.

    Raises:
        ImageError: As `images.dicom.read`.
    """
    if isinstance(file, DatasetFile):
        return file.dataset
    version = file.version
    key = id(file) if version is None else (file.name, version)
    with _lock:
        if key not in _entries:
            _entries[key] = _Entry()
            if version is None:  # such as an upload: nothing remains when its images are gone
                finalize(file, _entries.pop, key, None)
        entry = _entries[key]
        _entries.move_to_end(key)
    with entry.lock:
        if entry.dataset is None:
            try:
                data = file.read(limits)
                entry.dataset, entry.bytes = _parse(data, limits), len(data)
            except BaseException:
                with _lock:
                    _entries.pop(key, None)
                raise
            _forget_others(key)
        else:
            limits.check_bytes(entry.bytes)
        return entry.dataset


def _parse(data: bytes, limits: Limits) -> Dataset:
    dataset = dicom.read(data, limits)
    dicom.index_frames(dataset)
    dataset.buffer = None  # pydicom retains the whole file, but the dataset has a copy of its pixels
    return dataset


def _forget_others(key: Hashable) -> None:
    """Remove the files that were used longest ago until the rest is small enough."""
    with _lock:
        total = sum(entry.bytes for entry in _entries.values())
        for other in [name for name in _entries if name != key]:
            if total <= _MAX_BYTES:
                return
            total -= _entries.pop(other).bytes
