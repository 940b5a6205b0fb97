"""Embed the images of a labelled table and divide the embeddings by the table's splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

import numpy as np

from medimageinsight.adapters.labelled_embeddings import LabelledEmbeddings, split_by_patient
from medimageinsight.datasets import broken_images, patient_ids, with_dicom_patients
from medimageinsight.errors import DatasetError, InputError
from medimageinsight.metrics.patients import reject_shared_patients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.datasets import Sample, Table


TRAIN, VALIDATION, TEST = "train", "val", "test"  # splits, as in `mi2 train` and `mi2 evaluate`


class ImageModel(Protocol):
    """A model that embeds images, such as ``MedImageInsight``."""

    def embed_images(
        self,
        sources: Sequence[Path | BinaryIO],
        /,
        *,
        errors: Literal["return"],
        progress: Callable[[int], None] | None,
    ) -> list[NDArray[np.float32] | InputError]:
        """Return (D,) float32, L2-normalised, or the error of each source."""


def labelled_samples(table: Table, *, sources: Sequence[str] = (), separator: str | None = None) -> tuple[Sample, ...]:
    """Return the samples of the named sources, or all; without a label only if a cell may have several labels.

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
) -> LabelledEmbeddings:
    """Embed the images of a table.

    With a ``separator`` of the labels of one cell, as ``|``, labels do not exclude each other, and an empty cell is an
    image without labels; without one a cell is one label. ``progress`` is called with the number of images done.

    Raises:
        DatasetError: Images cannot be read (``dataset_broken_images``).
    """
    sources = [sample.lazy_source() for sample in samples]
    results = model.embed_images(sources, errors="return", progress=progress)
    problems = {
        sample.location: result
        for sample, result in zip(samples, results, strict=True)
        if isinstance(result, InputError)
    }
    if problems:
        raise broken_images(problems)
    labels: Sequence[str] | Sequence[frozenset[str]] = [sample.label for sample in samples]
    if separator is not None:
        cells = (sample.label.split(separator) for sample in samples)
        labels = [frozenset(filter(None, map(str.strip, cell))) for cell in cells]
    return LabelledEmbeddings(
        vectors=np.stack([result for result in results if not isinstance(result, InputError)]),
        labels=labels,
        patients=patient_ids(with_dicom_patients(samples)),
    )


def split_embeddings(
    data: LabelledEmbeddings, samples: Sequence[Sample], *, fraction: float = 0.2, seed: int = 0
) -> tuple[LabelledEmbeddings, LabelledEmbeddings, LabelledEmbeddings | None]:
    """Return the training, validation and test part: the table's splits ``train``, ``val`` and ``test``.

    A table without splits is split by patient and has no test part; without ``val`` the training part is split.
    ``fraction`` is that of the patients for validation then.

    Raises:
        DatasetError: The table has splits, but not ``train`` (``dataset_split_unknown``).
        InputError: A patient of the test part is in another part (``patients_shared``).
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
    train, validation, test = (_take_split(data, samples, split) for split in (TRAIN, VALIDATION, TEST))
    reject_shared_patients([*train.patients, *validation.patients], test.patients, "training or validation, and test")
    if not len(validation):
        train, validation = split_by_patient(train, fraction=fraction, seed=seed)
    return train, validation, test if len(test) else None


def select_evaluation_samples(
    samples: Sequence[Sample], *, validation: str = VALIDATION, test: str = TEST
) -> tuple[Sample, ...]:
    """Return the samples of the validation and the test split, or all samples of a table without splits.

    Raises:
        DatasetError: The table has splits, but not the validation split (``dataset_split_unknown``).
    """
    splits = {sample.split for sample in samples}
    if splits == {""}:
        return tuple(samples)
    if validation not in splits:
        raise DatasetError(
            f"expected one of the splits {', '.join(sorted(splits))}, got {validation!r}: choose one of them",
            code="dataset_split_unknown",
        )
    return tuple(sample for sample in samples if sample.split in (validation, test))


def split_evaluation_embeddings(
    data: LabelledEmbeddings, samples: Sequence[Sample], *, validation: str = VALIDATION, test: str = TEST
) -> tuple[LabelledEmbeddings, LabelledEmbeddings | None]:
    """Return the validation part (all images of a table without splits) and the test part, if there is one.

    The samples are of `select_evaluation_samples`. There is no test part if it is the validation split.
    """
    has_splits = any(sample.split for sample in samples)
    validation_part = _take_split(data, samples, validation) if has_splits else data
    test_part = _take_split(data, samples, test)
    return validation_part, test_part if len(test_part) and test != validation else None


def _take_split(data: LabelledEmbeddings, samples: Sequence[Sample], split: str) -> LabelledEmbeddings:
    indices = [index for index, sample in enumerate(samples) if sample.split == split]
    return data.take(np.array(indices, dtype=np.int64))
