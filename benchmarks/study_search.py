"""Search of whole studies: pooled vectors against votes of the single images.

    python benchmarks/study_search.py ../shared/data/medmix/medmix.parquet ../shared/data/medmix2/medmix2.parquet

From the split `test` of the tables 200 studies of 6 images are made, each of one kind (source and label), at most 8 of
a kind, at least 4; images of one patient are in one study where they can be. "Mixed" replaces 2 images of each study by
images of other kinds, as localizers and other series are in real studies. "Volumes" are the slices of the open CT and
MR volumes (sources `ct_volumes`, `mr_volumes`, `mr_thorax`, `ct_head_ge`), a series for each volume and plane, all
splits: a series is relevant if it has the same anatomy and plane of another volume. Every study is a query among the
others. Votes: each image of the query finds its 10 nearest images of other studies, which vote for their study with
their cosine. Best: the mean over the query's images of the largest cosine with an image of the study. In brackets are
95 % intervals of 1,000 resamples of the queries. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from medimageinsight import MedImageInsight
from medimageinsight.datasets import read_table
from medimageinsight.studies import Pooling, pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample

STUDIES, IMAGES, REPLACED = 200, 6, 2
LEAST, MOST = 4, 8  # studies of a kind
VOTERS = 10
CUTS = (1, 5)
RESAMPLES, SEED = 1000, 0
VOLUMES = ("ct_volumes", "mr_volumes", "mr_thorax", "ct_head_ge")


@dataclass(frozen=True)
class Set:
    """Studies with their kinds: `images` has the row of each image of each study."""

    name: str
    kinds: list[str]
    images: list[list[int]]


def make_studies(samples: Sequence[Sample], rng: np.random.Generator) -> tuple[Set, Set]:
    """Return the studies of one kind, and the same with images of other kinds among theirs."""
    by_kind: defaultdict[str, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if sample.split == "test" and sample.label:
            by_kind[f"{sample.source}/{sample.label}"].append(row)
    found: list[tuple[str, list[int]]] = []
    for kind, rows in sorted(by_kind.items()):
        rows.sort(key=lambda row: (samples[row].patient_id, row))
        groups = [rows[start : start + IMAGES] for start in range(0, len(rows) - IMAGES + 1, IMAGES)]
        if len(groups) >= LEAST:
            found += [(kind, groups[int(index)]) for index in rng.permutation(len(groups))[:MOST]]
    if len(found) > STUDIES:
        found = [found[int(index)] for index in sorted(rng.permutation(len(found))[:STUDIES])]
    kinds = [kind for kind, _ in found]
    others = {kind: [row for name, rows in by_kind.items() if name != kind for row in rows] for kind in set(kinds)}
    mixed = [
        [*rows[REPLACED:], *(int(row) for row in rng.choice(others[kind], REPLACED, replace=False))]
        for kind, rows in found
    ]
    return Set("one kind", kinds, [rows for _, rows in found]), Set("mixed", kinds, mixed)


def make_volumes(samples: Sequence[Sample]) -> Set:
    """Return the series of the volumes."""
    by_series: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if sample.source in VOLUMES:
            by_series[sample.patient_id, f"{sample.modality} {sample.anatomy}", sample.view].append(row)
    return Set("volumes", [f"{anatomy} {view}" for _, anatomy, view in by_series], list(by_series.values()))


def score_pooled(
    vectors: NDArray[np.float32], images: Sequence[Sequence[int]], pooling: Pooling
) -> NDArray[np.float64]:
    """Return the similarity of every study with every study, (S, S)."""
    pooled = np.stack([pool(vectors[rows], pooling) for rows in images]).astype(np.float64)
    return pooled @ pooled.T


def score_images(
    vectors: NDArray[np.float32], images: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the votes of each study (row) for every study, and the mean best cosine, (S, S) each."""
    study_of = np.repeat(np.arange(len(images)), [len(rows) for rows in images])
    stacked = vectors[np.concatenate([list(rows) for rows in images])].astype(np.float64)
    cosines = stacked @ stacked.T
    cosines[study_of[:, None] == study_of] = -np.inf
    votes = np.zeros((len(images), len(images)))
    for row, study in zip(cosines, study_of, strict=True):
        for nearest in np.argpartition(-row, VOTERS)[:VOTERS]:
            votes[study, study_of[nearest]] += row[nearest]
    starts = np.flatnonzero(np.diff(study_of, prepend=-1))
    best = np.maximum.reduceat(cosines, starts, axis=1)
    mean_best = np.stack([best[study_of == study].mean(axis=0) for study in range(len(images))])
    return votes, mean_best


def precisions(scores: NDArray[np.float64], kinds: Sequence[str]) -> NDArray[np.float64]:
    """Return precision at 1 and 5 and average precision of each query with a relevant study, (Q, 3)."""
    names = np.array(kinds)
    rows = []
    for query, row in enumerate(scores):
        order = [int(index) for index in np.argsort(-row, kind="stable") if index != query]
        relevant = names[order] == names[query]
        if total := int(relevant.sum()):
            hits = np.flatnonzero(relevant)
            average = float(np.mean(np.arange(1, total + 1) / (hits + 1)))
            rows.append([*(float(relevant[:cut].sum()) / min(cut, total) for cut in CUTS), average])
    return np.array(rows)


def format_figures(values: NDArray[np.float64], rng: np.random.Generator) -> str:
    """Return the cells of a table row: means over the queries, (Q, 3), with their intervals."""
    drawn = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    cells = zip(values.mean(axis=0), low, high, strict=True)
    return " | ".join(f"{value:.3f} [{down:.3f}, {up:.3f}]" for value, down, up in cells)


def print_table(found: Set, vectors: NDArray[np.float32]) -> None:
    """Print the figures of each method as a table."""
    rng = np.random.default_rng(SEED)
    votes, best = score_images(vectors, found.images)
    methods: Mapping[str, NDArray[np.float64]] = {
        **{name: score_pooled(vectors, found.images, name) for name in get_args(Pooling)},
        "votes of images": votes,
        "best images": best,
    }
    queries = len(precisions(votes, found.kinds))
    print(f"\n{found.name}: {len(found.images)} studies of {len(set(found.kinds))} kinds, {queries} queries\n")
    print("| | precision at 1 | precision at 5 | average precision |\n|---|---|---|---|")
    for name, scores in methods.items():
        print(f"| {name} | {format_figures(precisions(scores, found.kinds), rng)} |")


def main() -> None:
    """Embed the images and print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    samples = [sample for path in arguments.tables for sample in read_table(path)]
    sets = [*make_studies(samples, np.random.default_rng(SEED)), make_volumes(samples)]
    used = sorted({row for found in sets for rows in found.images for row in rows})
    started = time.perf_counter()
    vectors = np.zeros((len(samples), 0), np.float32)
    with MedImageInsight.load(arguments.model) as model:
        vectors = np.zeros((len(samples), model.embedding_dim), np.float32)
        vectors[used] = model.embed_images(samples[row].image_source() for row in used)
    print(f"{arguments.model}: {len(used):,} images embedded in {time.perf_counter() - started:.0f} s")
    for found in sets:
        print_table(found, vectors)


if __name__ == "__main__":
    main()
