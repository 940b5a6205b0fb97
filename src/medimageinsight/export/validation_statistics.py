"""Statistics of a model's validation images, which a bundle stores to mark images unlike them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.bundle import (
    MIN_IMAGES,
    STATISTICS,
    ValidationStatistics,
    add_file,
    write_statistics,
)
from medimageinsight.datasets import with_dicom_patients
from medimageinsight.errors import DatasetError, ImageError, InputError
from medimageinsight.export.image_groups import TAIL, fit_groups, group_images, mark_threshold
from medimageinsight.export.made_images import make_images
from medimageinsight.search.copies import measure_copy_cosine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

    from medimageinsight.api import MedImageInsight
    from medimageinsight.bundle import Bundle
    from medimageinsight.datasets import Sample, Table

LEVEL = 0.01  # of images like the validation images, the part that is marked
COPIED_IMAGES = 64


def measure_statistics(
    model: MedImageInsight,
    table: Table,
    *,
    split: str | None = None,
    level: float = LEVEL,
    progress: Callable[[int], None] | None = None,
) -> ValidationStatistics:
    """Measure the validation statistics of a model on images that it was not trained on.

    Groups are those of `group_images`. The threshold is that of the scores of each fifth of the patients by groups
    computed without them; images without a known patient count as different patients. Images that cannot be read are
    left out.

    Args:
        model: With the preprocessing that it will be used with.
        table: Images with their source, modality, anatomy and view, or captions.
        split: The split to measure; by default all images.
        level: The part of images like these that may be marked, above 0 and below 0.1.
        progress: Called with the number of images done.

    Raises:
        InputError: ``level_invalid``.
        DatasetError: The split does not exist, or fewer than 100 images can be read (``statistics_too_few``).
        MissingExtraError: scikit-learn is not installed.
    """
    if not 0 < level < TAIL:
        raise InputError(f"expected a level above 0 and below {TAIL:g}, got {level:g}", code="level_invalid")
    chosen = table if split is None else table.of_split(split)
    found = model.embed_images((sample.lazy_source() for sample in chosen), errors="return", progress=progress)
    rows = [(sample, row) for sample, row in zip(chosen, found, strict=True) if isinstance(row, np.ndarray)]
    if len(rows) < MIN_IMAGES:
        raise DatasetError(
            f"expected at least {MIN_IMAGES} images that can be read, below which the highest scores are too few, got "
            f"{len(rows)}: give more validation images",
            code="statistics_too_few",
        )
    samples = with_dicom_patients(sample for sample, _ in rows)
    vectors = np.stack([row for _, row in rows])
    patients = [sample.patient_id for sample in samples]
    groups, scores = fit_groups(vectors, group_images(samples, vectors), patients, model.embed_images(make_images()))
    return ValidationStatistics(
        model=model.identity,
        groups=groups,
        threshold=mark_threshold(scores, level),
        level=level,
        images=len(rows),
        copy_cosine=min(1.0, measure_copy_cosine(model, _open(model, _spread(samples, COPIED_IMAGES)))),
        data={
            "split": split,
            "unread": len(chosen) - len(rows),
            "patients_unknown": sum(not patient for patient in patients),
            "sha256": hashlib.sha256(vectors.astype("<f4").tobytes()).hexdigest(),
        },
    )


def store_statistics(bundle: Bundle, statistics: ValidationStatistics) -> Bundle:
    """Write statistics into a bundle and enter them in its manifest; earlier ones are replaced.

    Raises:
        BundleError: As `bundle.add_file`.
    """
    return add_file(bundle, STATISTICS, lambda path: write_statistics(path, statistics))


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
    """Return statistics that name the tables they were measured on: names of files or folders, without their paths."""
    return replace(statistics, data={"table": name, **statistics.data})
