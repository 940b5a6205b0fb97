"""Cache of optimised graphs for this machine, with weights packed for its CPU.

ONNX Runtime optimises a graph and packs its weights at each load, in private memory of the process. A copy written once
with packed weights is memory-mapped instead: processes share its pages, and the system may drop and read them again.

::

    $MI2_HOME/cache/graphs/<key>/       readable by its owner only
        graph.onnx  graph.data          the optimised graph
        copy.json                       the sizes and SHA-256 of both, written last

A copy is complete or does not exist: it is written to a hidden folder and renamed. Each load computes the checksums
again, since a damaged weight would give wrong embeddings without an error: of the graph before it is read, of the data
while ONNX Runtime maps them. A damaged copy, and one that ONNX Runtime cannot load or run, is removed and written
again. Where no copy can be written, the graph itself is loaded. ``MI2_GRAPH_CACHE=0`` disables the cache,
`clear_graph_cache` empties it. On Windows the folders' access rights are not checked, since they are private to a user
by default.

Measured with the released image encoder, 1.45 GB, on two cores: 1.8 s to load, the checksum of 2.8 GB included, instead
of 3.2 s; 0.35 GB of private memory instead of 1.8 GB while a process embeds an image, if another process has mapped the
copy too; 2.8 GB of disk. The embeddings have the same bits. What the disk returns for a page that the system dropped
and reads again after loading is not checked.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimageinsight.bundle import EXTERNAL_DATA_SUFFIX, home, sha256_of
from medimageinsight.files.atomic import flush

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 2
GRAPH, DATA, RECORD = "graph.onnx", "graph.data", "copy.json"

MIN_BYTES = 100_000_000  # of weights; smaller graphs load fast enough without a copy

_OFF = ("0", "false", "no", "off")
_NEEDED_SPACE = 3  # free disk space for a copy, in sizes of the graph's data: weights, packed weights, and a margin
_ABANDONED_AGE = 3600  # seconds; a writer needs one minute, so an older hidden folder is of a killed one
_PRIVATE = 0o700


class GraphCopy:
    """This machine's optimised copy of the graph in the file ``source``, which may not exist yet."""

    def __init__(self, source: Path, checksums: Sequence[str], data_bytes: int) -> None:
        import onnxruntime as ort

        self._source = _digest(str(source.resolve()))
        self._data_bytes = data_bytes
        # A digest of the graph's content, ONNX Runtime's version and the CPU, not of the number of threads.
        self.key = _digest(json.dumps([FORMAT, list(checksums), ort.__version__, _cpu()]))
        self.folder = cache_folder() / self.key

    @property
    def graph(self) -> Path:
        """The copy's ``.onnx`` file."""
        return self.folder / GRAPH

    def is_complete(self) -> bool:
        """Return whether the copy is in a private folder, its files have the sizes and its graph the content written.

        The weights are not read; see `has_intact_data`.
        """
        record = _read_record(self.folder)
        try:
            if not _is_private(self.folder.parent) or not _is_private(self.folder):
                return False
            if record.get("format") != FORMAT or record.get("files") != _sizes(self.folder):
                return False
            return bool(record["sha256"][GRAPH] == sha256_of(self.graph))
        except (OSError, KeyError, TypeError):
            return False

    def has_intact_data(self) -> bool:
        """Return whether the weights have the content that was written; reads them all, some 1.5 GB in a second."""
        try:
            return bool(_read_record(self.folder)["sha256"][DATA] == sha256_of(self.folder / DATA))
        except (OSError, KeyError, TypeError):
            return False

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a hidden folder to write the graph and its data to; it becomes the copy if the block raises no error.

        Folders of killed writers and copies of earlier versions of the same file are removed.

        Raises:
            OSError: The cache cannot be written to, or its disk has too little space.
        """
        root = self.folder.parent
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if not _is_private(root):
            raise PermissionError("expected a cache folder that only its owner can write to, got one open to others")
        _remove_abandoned(root)
        if shutil.disk_usage(root).free < _NEEDED_SPACE * self._data_bytes:
            raise OSError("expected disk space for a copy in the cache, got too little")
        temporary = root / f".{self.key}-{secrets.token_hex(4)}"
        temporary.mkdir(mode=_PRIVATE)
        try:
            yield temporary
            self._finish(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._remove_earlier()

    def remove(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _finish(self, temporary: Path) -> None:
        record = {
            "format": FORMAT,
            "source": self._source,
            "cpu": _cpu(),
            "files": _sizes(temporary),
            "sha256": {name: sha256_of(temporary / name) for name in (GRAPH, DATA)},
        }
        (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
        for name in (GRAPH, DATA, RECORD):  # a power failure may lose content without changing the size
            flush(temporary / name)
        if self.folder.exists() and not self.is_complete():
            self.remove()
        try:
            temporary.rename(self.folder)
        except OSError:
            if not self.is_complete():  # else another process was faster, and its copy is equal
                raise

    def _remove_earlier(self) -> None:
        """Remove copies of the same file with other content or of another ONNX Runtime; keep those for other CPUs."""
        for folder in self.folder.parent.glob("[!.]*"):  # hidden ones are being written
            record = _read_record(folder)
            if folder != self.folder and (record.get("source"), record.get("cpu")) == (self._source, _cpu()):
                shutil.rmtree(folder, ignore_errors=True)


def graph_copy(source: Path, checksums: Sequence[str]) -> GraphCopy | None:
    """Return the copy of a graph with large external data; None for a small graph, or with the cache disabled."""
    data = source.with_name(source.name + EXTERNAL_DATA_SUFFIX)
    if os.environ.get("MI2_GRAPH_CACHE", "").lower() in _OFF or not data.is_file():
        return None
    size = data.stat().st_size
    return GraphCopy(source, checksums, size) if size >= MIN_BYTES else None


def cache_folder() -> Path:
    """Return the folder of all copies."""
    return home() / "cache" / "graphs"


def device_cache(provider: str, key: str) -> Path | None:
    """Return a private folder for a graph compiled by a device's provider; None if it cannot be created."""
    folder = home() / "cache" / provider.lower().removesuffix("executionprovider") / key
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        return folder if _is_private(folder) else None
    except OSError:
        return None


def graph_cache_size() -> int:
    """Return the size of all copies in bytes."""
    files = (path for path in cache_folder().rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def clear_graph_cache() -> int:
    """Remove all copies and return their size in bytes. A process that has mapped a copy keeps it until it ends."""
    size = graph_cache_size()
    shutil.rmtree(cache_folder(), ignore_errors=True)
    return size


@functools.cache
def _cpu() -> str:
    """Return a digest of the CPU's model and features, which determine how weights are packed."""
    features = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0].splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "flags", "CPU implementer", "CPU part", "Features"):
                features.append(value.strip())
    return _digest(json.dumps(features))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _sizes(folder: Path) -> dict[str, int]:
    """Return name to size of the graph's plain files; links are left out."""
    statuses = {name: (folder / name).lstat() for name in (GRAPH, DATA)}
    return {name: status.st_size for name, status in statuses.items() if stat.S_ISREG(status.st_mode)}


def _is_private(folder: Path) -> bool:
    """Return whether only this user can write to the folder; on Windows this is not checked."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(".*-????????"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > _ABANDONED_AGE:
                shutil.rmtree(folder)
