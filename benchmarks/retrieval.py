"""How well a store of images finds more of the same finding, by image and by text, by source of a labelled table.

    python benchmarks/retrieval.py ../shared/data/medmix/medmix.parquet --model mini

The split `test` is indexed in a store in a temporary folder and every one of its images is searched for, among the
images of all sources. Relevant is what has the image's source and label; the image itself does not count. "Other
patients": nothing of the image's own patient counts either, for the sources that know several images of a patient.
Texts are the split's distinct captions; the images of every label that has the caption are relevant. In brackets are
95 % intervals of 1,000 resamples of whole patients: of the images that are searched for, and for texts of those that
are found. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight import MedImageInsight, search
from medimageinsight.datasets import read_table
from medimageinsight.metrics.bootstrap import draw_multiplicities, figure, resampled_means
from medimageinsight.metrics.scores import precision_at_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample
    from medimageinsight.search import Hit, Store

RESAMPLES, SEED, CONFIDENCE = 1000, 0, 0.95
CUTS = (1, 5, 10)


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """Mean of the precisions at each relevant hit of a whole ranking (M,); NaN where there is none."""
    places = np.flatnonzero(relevant)
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1))) if len(places) else float("nan")


def score_images(store: Store, samples: Sequence[Sample], *, other_patients: bool) -> NDArray[np.float64]:
    """(N, 4): precision at 1, 5 and 10 and average precision of each image; NaN where it has nothing to find."""
    labels = {str(sample.path): (sample.source, sample.label) for sample in samples}
    rows = []
    for sample in samples:
        own = str(sample.path)
        column = "patient" if other_patients else None
        hits = [hit for hit in store.more_like(own, k=len(samples), exclude_same=column) if hit.id != own]
        relevant = np.array([labels[hit.id] == labels[own] for hit in hits])
        found = [float(precision_at_k(relevant[None], k)[0]) for k in CUTS]
        rows.append([*found, average_precision(relevant)] if relevant.any() else [np.nan] * 4)
    return np.array(rows)


def score_text(relevant: NDArray[np.bool_], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, R): precision at 10 and average precision of a ranking (M,) of images that count `weights` (R, M)."""
    counted = np.cumsum(weights, axis=1, dtype=np.float64)
    first = np.diff(np.minimum(counted, 10), axis=1, prepend=0)
    hit = np.cumsum(weights * relevant, axis=1, dtype=np.float64)
    precision = np.divide(hit, counted, out=np.zeros_like(hit), where=counted > 0)
    total = hit[:, -1]
    mean = np.divide(
        (weights * relevant * precision).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )
    return np.stack([(first * relevant).sum(axis=1) / 10, mean])


def score_texts(
    model: MedImageInsight, store: Store, samples: Sequence[Sample], weights: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Caption to `score_text`, of the images as they are (first column) and of each resample."""
    captions = sorted({sample.caption for sample in samples})
    place = {str(sample.path): number for number, sample in enumerate(samples)}
    labels_of: dict[str, set[tuple[str, str]]] = {caption: set() for caption in captions}
    for sample in samples:
        labels_of[sample.caption].add((sample.source, sample.label))
    scores = {}
    every = np.concatenate([np.ones((1, len(samples)), dtype=np.float32), weights])
    for caption, vector in zip(captions, model.embed_texts(captions), strict=True):
        hits: list[Hit] = store.search(vector, k=len(samples))
        order = [place[hit.id] for hit in hits]
        found = [samples[number] for number in order]
        relevant = np.array([(one.source, one.label) in labels_of[caption] for one in found])
        scores[caption] = score_text(relevant, every[:, order])
    return scores


def mean_over_texts(scores: Sequence[NDArray[np.float64]], metric: int) -> str:
    """The mean of a metric over captions, with its interval."""
    means = np.nanmean(np.stack([one[metric] for one in scores]), axis=0)
    return str(figure(float(means[0]), means[1:], count=len(scores), confidence=CONFIDENCE))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a labelled table, as medmix.parquet")
    parser.add_argument("--model", default="mini", help="a bundle's name or folder (default: mini)")
    arguments = parser.parse_args()
    samples = [one for one in read_table(arguments.table) if one.split == "test" and one.label]
    sources = np.array([one.source for one in samples])
    patients = np.unique([one.patient_id or str(one.path) for one in samples], return_inverse=True)[1]
    strata = np.unique(sources, return_inverse=True)[1]
    weights = draw_multiplicities(patients, strata, resamples=RESAMPLES, seed=SEED)
    with MedImageInsight.load(arguments.model) as model, tempfile.TemporaryDirectory() as folder:
        about = {str(one.path): {"patient": one.patient_id or str(one.path)} for one in samples}
        with search.create_store(Path(folder) / "store", identity=search.Identity.of(model)) as store:
            search.index_images(model, store, list(about), metadata=[about.get])
            alone = score_images(store, samples, other_patients=False)
            apart = score_images(store, samples, other_patients=True)
            texts = score_texts(model, store, samples, weights)

    def cell(scores: NDArray[np.float64], chosen: NDArray[np.bool_]) -> str:
        known = np.flatnonzero(chosen & ~np.isnan(scores))
        resampled = resampled_means(scores[known], weights[:, known])
        return str(figure(float(np.mean(scores[known])), resampled, count=len(known), confidence=CONFIDENCE))

    print("| by image | images | precision at 1 | at 5 | at 10 | mean average precision | other patients: at 10 |")
    print("|---|---|---|---|---|---|---|")
    for source in [*sorted(set(sources)), "all"]:
        chosen = np.ones(len(samples), dtype=bool) if source == "all" else sources == source
        several = len(set(patients[chosen])) < chosen.sum()
        cells = [cell(alone[:, column], chosen) for column in range(4)]
        print(
            f"| {source} | {chosen.sum():,} | "
            + " | ".join([*cells, cell(apart[:, 2], chosen) if several else ""])
            + " |"
        )
    print("\n| by text | captions | precision at 10 | mean average precision |\n|---|---|---|---|")
    for source in [*sorted(set(sources)), "all"]:
        captions = sorted({one.caption for one in samples if source in (one.source, "all")})
        scores = [texts[caption] for caption in captions]
        print(f"| {source} | {len(captions)} | {mean_over_texts(scores, 0)} | {mean_over_texts(scores, 1)} |")


if __name__ == "__main__":
    main()
