"""From a table of labelled images to vectors with their labels and patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from medimageinsight.adapters.labelled import Labelled, split_by_patient
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import DatasetError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table
    from medimageinsight.metrics.scores import Integers


TRAIN, VALIDATION, TEST = "train", "val", "test"  # splits, as `mi2 train` and `mi2 evaluate` name them


class ImageModel(Protocol):
    """What embeds the images; ``MedImageInsight`` is one."""

    def embed_images(
        self, sources: Sequence[Path], /, *, errors: Literal["return"], progress: Callable[[int], None] | None
    ) -> list[NDArray[np.float32] | InputError]:
        """For each source (D,) float32, L2-normalised, or its error."""


def labelled_samples(table: Table, *, sources: Sequence[str] = (), separator: str | None = None) -> tuple[Sample, ...]:
    """The samples to learn from: of the named sources, or all; with a label, unless a cell may hold several.

    Raises:
        DatasetError: There are none (``dataset_labels_missing``).
    """
    samples = tuple(
        sample
        for sample in table
        if (not sources or sample.source in sources) and (sample.label or separator is not None)
    )
    if not any(sample.label for sample in samples):
        raise DatasetError(
            "expected labelled images, the table has none of them: name the column of labels, or other sources",
            code="dataset_labels_missing",
        )
    return samples


def embed_labelled(
    model: ImageModel,
    samples: Sequence[Sample],
    *,
    separator: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Labelled:
    """Embed the images of a table.

    Args:
        model: Embeds them.
        samples: The rows.
        separator: What is between the labels of one cell, as ``|``: they do not exclude each other then, and an empty
            cell is an image without any. Without it a cell is one label.
        progress: Called with the number of images that are done.

    Raises:
        DatasetError: Images cannot be read (``dataset_broken_images``).
    """
    paths = [sample.path for sample in samples]
    embedded = model.embed_images(paths, errors="return", progress=progress)
    problems = {path: one for path, one in zip(paths, embedded, strict=True) if isinstance(one, InputError)}
    if problems:
        raise broken_images(problems)
    return Labelled(
        vectors=np.stack([one for one in embedded if not isinstance(one, InputError)]),
        labels=[sample.label for sample in samples] if separator is None else _sets(samples, separator),
        patients=patients_of(samples),
    )


def split_parts(
    data: Labelled, samples: Sequence[Sample], *, fraction: float = 0.2, seed: int = 0
) -> tuple[Labelled, Labelled, Labelled | None]:
    """Training, validation and test part: the table's splits ``train``, ``val`` and ``test``, as far as it has them.

    A table without splits is split by patient and has no test part; without ``val`` the training part is.

    Args:
        data: Of `embed_labelled`.
        samples: The rows it came from.
        fraction: Of patients for validation, where the table does not say.
        seed: Of that split.

    Raises:
        DatasetError: The table has splits, and ``train`` is none of them (``dataset_split_unknown``).
    """
    splits = {sample.split for sample in samples}
    if splits == {""}:
        return *split_by_patient(data, fraction=fraction, seed=seed), None
    if TRAIN not in splits:
        raise DatasetError(
            f"expected the splits {TRAIN}, {VALIDATION} and {TEST}, or none at all, got "
            f"{', '.join(sorted(splits))}: rename them",
            code="dataset_split_unknown",
        )
    train, validation, test = (data.take(rows_of_split(samples, split)) for split in (TRAIN, VALIDATION, TEST))
    if not len(validation):
        train, validation = split_by_patient(train, fraction=fraction, seed=seed)
    return train, validation, test if len(test) else None


def rows_of_split(samples: Sequence[Sample], split: str) -> Integers:
    """The places of a split's samples, none where the table has no such split."""
    return np.array([place for place, sample in enumerate(samples) if sample.split == split], dtype=np.int64)


def patients_of(samples: Sequence[Sample]) -> list[str]:
    """One id an image; a patient id is known within its source, '' where there is none."""
    return [f"{sample.source}/{sample.patient_id}" if sample.patient_id else "" for sample in samples]


def _sets(samples: Sequence[Sample], separator: str) -> list[frozenset[str]]:
    return [frozenset(filter(None, map(str.strip, sample.label.split(separator)))) for sample in samples]
