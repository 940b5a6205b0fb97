"""Statistics of a model's validation images, which a bundle stores to mark images unlike them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import (
    MIN_IMAGES,
    STATISTICS,
    Quantiles,
    ValidationStatistics,
    add_file,
    centroid_distances,
    write_statistics,
)
from medimageinsight.datasets import with_dicom_patients
from medimageinsight.errors import DatasetError, ImageError, missing_extra
from medimageinsight.metrics.patients import number_patients
from medimageinsight.metrics.vectors import normalize
from medimageinsight.search.copies import measure_copy_cosine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import Sample, Table

MAX_CENTROIDS = 128
IMAGES_PER_CENTROID = 6  # at least, on average
FOLDS = 5
COPIED_IMAGES = 64


def measure_statistics(
    model: MedImageInsight, table: Table, *, split: str | None = None, progress: Callable[[int], None] | None = None
) -> ValidationStatistics:
    """Measure the validation statistics of a model on images that it was not trained on.

    The best cosines are those with the captions of the whole table. The centroids are those of k-means, one for six
    images, at most 128. The distances of a fifth of the patients are to centroids computed without them; images
    without a known patient count as different patients. Images that cannot be read are left out.

    Args:
        model: With the preprocessing that it will be used with.
        table: Images with captions.
        split: The split to measure; by default all images.
        progress: Called with the number of images done.

    Raises:
        DatasetError: The split does not exist, or fewer than 100 images can be read (``statistics_too_few``).
        MissingExtraError: scikit-learn is not installed.
    """
    chosen = table if split is None else table.of_split(split)
    found = model.embed_images((sample.lazy_source() for sample in chosen), errors="return", progress=progress)
    rows = [(sample, row) for sample, row in zip(chosen, found, strict=True) if isinstance(row, np.ndarray)]
    if len(rows) < MIN_IMAGES:
        raise DatasetError(
            f"expected at least {MIN_IMAGES} images that can be read, below which no image is at the 1 % quantile, got "
            f"{len(rows)}: give more validation images",
            code="statistics_too_few",
        )
    samples = with_dicom_patients(sample for sample, _ in rows)
    vectors = np.stack([row for _, row in rows])
    texts = sorted({sample.caption for sample in table if sample.caption})
    copied = _spread(samples, COPIED_IMAGES)
    return ValidationStatistics(
        model=model.identity,
        cosine=Quantiles.of((vectors @ model.embed_texts(texts).T).max(axis=1)),
        distance=Quantiles.of(_held_out_distances(vectors, [sample.patient_id for sample in samples])),
        centroids=_centroids(vectors),
        copy_cosine=min(1.0, measure_copy_cosine(model, _open(model, copied))),
        data={
            "split": split,
            "images": len(rows),
            "unread": len(chosen) - len(rows),
            "texts": len(texts),
            "patients_unknown": sum(not sample.patient_id for sample in samples),
            "sha256": hashlib.sha256(vectors.astype("<f4").tobytes()).hexdigest(),
        },
    )


def store_statistics(bundle: Bundle, statistics: ValidationStatistics) -> Bundle:
    """Write statistics into a bundle and enter them in its manifest; earlier ones are replaced.

    Raises:
        BundleError: As `bundle.add_file`.
    """
    return add_file(bundle, STATISTICS, lambda path: write_statistics(path, statistics))


def _centroids(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the centroids of k-means, (K, D), normalised."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise missing_extra("evaluate", "measuring validation statistics") from None
    distinct = len(np.unique(vectors, axis=0))
    count = max(1, min(MAX_CENTROIDS, len(vectors) // IMAGES_PER_CENTROID, distinct))
    fitted = KMeans(count, n_init=4, random_state=0).fit(vectors)
    return normalize(fitted.cluster_centers_).astype(np.float32)


def _held_out_distances(vectors: NDArray[np.float32], patients: Sequence[str]) -> NDArray[np.float64]:
    """Return the distance (N,) of each image to the nearest centroid of the other folds' images."""
    numbers = number_patients(patients, len(vectors))
    _, groups = np.unique(numbers, return_inverse=True)
    folds = np.random.default_rng(0).permutation(groups.max() + 1)[groups] % FOLDS
    distances = np.empty(len(vectors))
    for fold in np.unique(folds):
        held_out = folds == fold
        # With the images of a single patient there are no others.
        others = vectors if held_out.all() else vectors[~held_out]
        distances[held_out] = centroid_distances(vectors[held_out], _centroids(others))
    return distances


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most `count` samples, evenly spaced in the table's order."""
    indices = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return [samples[index] for index in indices]


def _open(model: MedImageInsight, samples: Sequence[Sample]) -> Iterator[Image.Image]:
    for sample in samples:
        try:
            yield model.open_image(sample.lazy_source()).upright()
        except ImageError:  # the file has changed since it was embedded
            continue


def describe_table(statistics: ValidationStatistics, name: str) -> ValidationStatistics:
    """Return statistics that name the table they were measured on: the name of a file or folder, without its path."""
    return replace(statistics, data={"table": Path(name).name, **statistics.data})
