"""Optimised copies of large graphs, kept for this machine, with weights packed as its CPU wants them.

ONNX Runtime optimises a graph and re-packs its weights at each load, into memory of the process's own. A copy written
once with the packed weights is mapped instead: the pages belong to the file, so the processes of one machine share
them and the system may drop and read them again. At each load ONNX Runtime packs every weight once more, compares it
with the copy's, and refuses the copy if they differ.

::

    $MI2_HOME/cache/graphs/<key>/       readable by its owner alone
        graph.onnx  graph.data          the optimised graph
        copy.json                       the sizes of both, written last

A copy is there as a whole or not at all: it is written into a hidden folder and renamed. What cannot be written, or
read, is not used, and nobody is told: the graph itself is loaded as if there were no cache. ``MI2_GRAPH_CACHE=0``
switches it off, `clear_graph_cache` empties it.

The released image encoder, 1.45 GB, on two cores: 1.3 s to load against 4.0 s (and 1.2 s more for the checksum of what
then need not be read); 0.37 GB of a process's own memory against 1.82 GB while it embeds one image, once another
process has the copy mapped too; 2.8 GB of disk. The embeddings have the same bits.
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

from medimageinsight.bundle import home
from medimageinsight.bundle.bundle import EXTERNAL_DATA_SUFFIX
from medimageinsight.files.atomic import flush

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
GRAPH, DATA, RECORD = "graph.onnx", "graph.data", "copy.json"

MIN_BYTES = 100_000_000  # of weights; below, a graph loads in a blink and a copy is not worth its place

_OFF = ("0", "false", "no", "off")
_ROOM = 3  # free space that a copy needs, in sizes of the graph's data: weights as they are and packed, and some air
_ABANDONED = 3600  # seconds; a writer needs one minute, so a hidden folder of this age is a killed one's
_PRIVATE = 0o700


class GraphCopy:
    """This machine's optimised copy of one graph, there or not.

    Args:
        source: The graph's ``.onnx`` file.
        checksums: SHA-256 of each file of the graph.
        data_bytes: Size of the graph's external data.
    """

    def __init__(self, source: Path, checksums: Sequence[str], data_bytes: int) -> None:
        self._source = _digest(str(source.resolve()))
        self._data_bytes = data_bytes
        self.key = graph_key(checksums)
        self.folder = cache_folder() / self.key

    @property
    def graph(self) -> Path:
        """The copy's ``.onnx`` file."""
        return self.folder / GRAPH

    def is_whole(self) -> bool:
        """Whether the copy is there, in a folder of this user's alone, with the sizes it was written with."""
        record = _read_record(self.folder)
        try:
            if not _is_private(self.folder.parent) or not _is_private(self.folder):
                return False
            return record.get("format") == FORMAT and record.get("files") == _sizes(self.folder)
        except OSError:
            return False

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """A hidden folder to write the graph and its data into; it becomes the copy if the block ends without an error.

        What killed writers left behind, and copies of what the same graph was before, go.

        Raises:
            OSError: The cache cannot be written, or its disk has no room.
        """
        root = self.folder.parent
        root.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if not _is_private(root):
            raise PermissionError("the cache folder is not this user's alone")
        _remove_abandoned(root)
        if shutil.disk_usage(root).free < _ROOM * self._data_bytes:
            raise OSError("the cache's disk has no room for a copy")
        temporary = root / f".{self.key}-{secrets.token_hex(4)}"
        temporary.mkdir(mode=_PRIVATE)
        try:
            yield temporary
            self._finish(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._remove_former()

    def remove(self) -> None:
        """Remove the copy, because ONNX Runtime would not have it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _finish(self, temporary: Path) -> None:
        record = {"format": FORMAT, "source": self._source, "cpu": _cpu(), "files": _sizes(temporary)}
        (temporary / RECORD).write_text(json.dumps(record), encoding="utf-8")
        for name in (GRAPH, DATA, RECORD):  # sizes do not tell what a power failure kept from the disk
            flush(temporary / name)
        if self.folder.exists() and not self.is_whole():
            self.remove()
        try:
            temporary.rename(self.folder)
        except OSError:
            if not self.is_whole():  # else another process was first, and its copy is as good
                raise

    def _remove_former(self) -> None:
        """Copies of the same file with other content or by another ONNX Runtime; other CPUs' copies stay."""
        for folder in self.folder.parent.glob("[!.]*"):  # hidden ones are being written
            record = _read_record(folder)
            if folder != self.folder and (record.get("source"), record.get("cpu")) == (self._source, _cpu()):
                shutil.rmtree(folder, ignore_errors=True)


def graph_copy(source: Path, checksums: Sequence[str]) -> GraphCopy | None:
    """The copy of a graph with large external data beside it; None for a small one, or with the cache off."""
    data = source.with_name(source.name + EXTERNAL_DATA_SUFFIX)
    if os.environ.get("MI2_GRAPH_CACHE", "").lower() in _OFF or not data.is_file():
        return None
    size = data.stat().st_size
    return GraphCopy(source, checksums, size) if size >= MIN_BYTES else None


def cache_folder() -> Path:
    """Where the copies lie."""
    return home() / "cache" / "graphs"


def graph_key(checksums: Sequence[str]) -> str:
    """What makes a copy this one: the graph's content, ONNX Runtime, and the CPU. Threads do not matter to it."""
    import onnxruntime as ort

    return _digest(json.dumps([FORMAT, list(checksums), ort.__version__, _cpu()]))


def device_cache(provider: str, key: str) -> Path | None:
    """A private folder for what a device's provider compiles of one graph; None where it cannot be made."""
    folder = home() / "cache" / provider.lower().removesuffix("executionprovider") / key
    try:
        folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        return folder if _is_private(folder) else None
    except OSError:
        return None


def graph_cache_size() -> int:
    """Bytes that the copies take."""
    return sum(path.stat().st_size for path in _files_below(cache_folder()))


def clear_graph_cache() -> int:
    """Remove all copies; the bytes they took. A process that has one mapped keeps it until it ends."""
    size = graph_cache_size()
    shutil.rmtree(cache_folder(), ignore_errors=True)
    return size


def _files_below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


@functools.cache
def _cpu() -> str:
    """A digest of the CPU's model and abilities, which decide how weights are packed."""
    described = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0].splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "flags", "CPU implementer", "CPU part", "Features"):
                described.append(value.strip())
    return _digest(json.dumps(described))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _sizes(folder: Path) -> dict[str, int]:
    """Sizes of the plain files; a link is none of them."""
    found = {name: (folder / name).lstat() for name in (GRAPH, DATA)}
    return {name: one.st_size for name, one in found.items() if stat.S_ISREG(one.st_mode)}


def _is_private(folder: Path) -> bool:
    """A folder of this user's that nobody else can write. Windows keeps a user's folders apart by other means."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(".*-????????"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > _ABANDONED:
                shutil.rmtree(folder)
