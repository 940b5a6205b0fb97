"""Retrieval of images with the same finding, by image and by text, for each source of a labelled table.

    python benchmarks/retrieval.py ../shared/data/medmix/medmix.parquet --model mini

The split `test` is indexed in a store in a temporary folder, and each of its images is a query among the images of all
sources. Images of the query's source and label are relevant; the query itself is excluded. "Other patients" also
excludes all images of the query's patient, for sources with several images of a patient. Text queries are the split's
distinct captions; the images of every label with the caption are relevant. In brackets are 95 % intervals of 1,000
resamples of whole patients: of the query images, and for texts of the images found. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight import MedImageInsight, search
from medimageinsight.datasets import read_table
from medimageinsight.metrics import bootstrap_figure, draw_bootstrap_weights, precision_at_k, resampled_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample
    from medimageinsight.search import Hit, Store

RESAMPLES, SEED, CONFIDENCE = 1000, 0, 0.95
CUTS = (1, 5, 10)


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """Return the mean of the precisions at each relevant hit of a whole ranking (M,); NaN without relevant hits."""
    positions = np.flatnonzero(relevant)
    return float(np.mean(np.arange(1, len(positions) + 1) / (positions + 1))) if len(positions) else float("nan")


def score_images(store: Store, samples: Sequence[Sample], *, other_patients: bool) -> NDArray[np.float64]:
    """Return precision at 1, 5 and 10 and average precision of each image, (N, 4); NaN without relevant images."""
    labels = {str(sample.path): (sample.source, sample.label) for sample in samples}
    rows = []
    for sample in samples:
        query = str(sample.path)
        column = "patient" if other_patients else None
        hits = [hit for hit in store.more_like(query, k=len(samples), exclude_same=column) if hit.id != query]
        relevant = np.array([labels[hit.id] == labels[query] for hit in hits])
        precisions = [float(precision_at_k(relevant[None], k)[0]) for k in CUTS]
        rows.append([*precisions, average_precision(relevant)] if relevant.any() else [np.nan] * 4)
    return np.array(rows)


def score_text(relevant: NDArray[np.bool_], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return precision at 10 and average precision, (2, R), of a ranking (M,) of images with weights (R, M)."""
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
    """Return `score_text` of each caption, for all images (first column) and for each resample."""
    captions = sorted({sample.caption for sample in samples})
    index_of = {str(sample.path): index for index, sample in enumerate(samples)}
    labels_of: dict[str, set[tuple[str, str]]] = {caption: set() for caption in captions}
    for sample in samples:
        labels_of[sample.caption].add((sample.source, sample.label))
    scores = {}
    all_weights = np.concatenate([np.ones((1, len(samples)), dtype=np.float32), weights])
    for caption, vector in zip(captions, model.embed_texts(captions), strict=True):
        hits: list[Hit] = store.search(vector, k=len(samples))
        order = [index_of[hit.id] for hit in hits]
        relevant = np.array([(samples[i].source, samples[i].label) in labels_of[caption] for i in order])
        scores[caption] = score_text(relevant, all_weights[:, order])
    return scores


def mean_over_texts(scores: Sequence[NDArray[np.float64]], metric: int) -> str:
    """Format the mean of a metric over captions, with its interval."""
    means = np.nanmean(np.stack([values[metric] for values in scores]), axis=0)
    return str(bootstrap_figure(float(means[0]), means[1:], count=len(scores), confidence=CONFIDENCE))


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a labelled table, as medmix.parquet")
    parser.add_argument("--model", default="mini", help="a bundle's name or folder (default: mini)")
    arguments = parser.parse_args()
    samples = [sample for sample in read_table(arguments.table) if sample.split == "test" and sample.label]
    sources = np.array([sample.source for sample in samples])
    patient_of = {str(sample.path): sample.patient_id or str(sample.path) for sample in samples}
    patients = np.unique([patient_of[str(sample.path)] for sample in samples], return_inverse=True)[1]
    strata = np.unique(sources, return_inverse=True)[1]
    weights = draw_bootstrap_weights(patients, strata, resamples=RESAMPLES, seed=SEED)
    with MedImageInsight.load(arguments.model) as model, tempfile.TemporaryDirectory() as folder:
        metadata = {path: {"patient": patient} for path, patient in patient_of.items()}
        with search.create_store(Path(folder) / "store", identity=search.Identity.of(model)) as store:
            search.index_images(model, store, list(metadata), metadata=[metadata.get])
            by_image = score_images(store, samples, other_patients=False)
            by_image_other_patients = score_images(store, samples, other_patients=True)
            by_text = score_texts(model, store, samples, weights)

    def format_mean(scores: NDArray[np.float64], selected: NDArray[np.bool_]) -> str:
        known = np.flatnonzero(selected & ~np.isnan(scores))
        resampled = resampled_means(scores[known], weights[:, known])
        return str(bootstrap_figure(float(np.mean(scores[known])), resampled, count=len(known), confidence=CONFIDENCE))

    print("| by image | images | precision at 1 | at 5 | at 10 | mean average precision | other patients: at 10 |")
    print("|---|---|---|---|---|---|---|")
    for source in [*sorted(set(sources)), "all"]:
        selected = np.ones(len(samples), dtype=bool) if source == "all" else sources == source
        has_several = len(set(patients[selected])) < selected.sum()
        cells = [format_mean(by_image[:, column], selected) for column in range(4)]
        cells.append(format_mean(by_image_other_patients[:, 2], selected) if has_several else "")
        print(f"| {source} | {selected.sum():,} | " + " | ".join(cells) + " |")
    print("\n| by text | captions | precision at 10 | mean average precision |\n|---|---|---|---|")
    for source in [*sorted(set(sources)), "all"]:
        captions = sorted({sample.caption for sample in samples if source in (sample.source, "all")})
        scores = [by_text[caption] for caption in captions]
        print(f"| {source} | {len(captions)} | {mean_over_texts(scores, 0)} | {mean_over_texts(scores, 1)} |")


if __name__ == "__main__":
    main()
