"""What the tasks are given, checked: embeddings that are finite and fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.errors import InputError
from medimageinsight.tasks.similarity import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from medimageinsight.evaluate.metrics import Integers


def unit_rows(vectors: ArrayLike, *, what: str = "vectors", dim: int | None = None) -> NDArray[np.float32]:
    """Embeddings (N, D) as float32 of length 1.

    Args:
        vectors: (N, D), N may be 0.
        what: How to name them in errors.
        dim: The D that they must have.

    Raises:
        InputError: Not such an array (``embeddings_bad_shape``), or a value is NaN or infinite
            (``embeddings_not_finite``).
    """
    with np.errstate(invalid="ignore"):  # infinity divided by infinity is refused below
        rows = normalize(vectors)
    if rows.ndim != 2 or (dim is not None and rows.shape[1] != dim):
        raise InputError(
            f"expected {what} of shape (N, {'D' if dim is None else dim}), got {np.shape(rows)}: "
            "give one row an image, all embedded by one model",
            code="embeddings_bad_shape",
        )
    if not np.isfinite(rows).all():
        raise InputError(
            f"expected finite {what}, got NaN or infinity: leave out what could not be embedded",
            code="embeddings_not_finite",
        )
    return rows.astype(np.float32)


def refuse_shared(one: Sequence[str] | None, other: Sequence[str] | None, message: str) -> None:
    """Refuse two sets with images of one patient, which are alike; '' is a patient who is not known.

    Raises:
        InputError: ``patients_shared`` with the message.
    """
    if {*(one or ())} & {*(other or ())} - {""}:
        raise InputError(message, code="patients_shared")


def number_patients(patients: Sequence[str] | None, count: int, *, known: Sequence[str] = ()) -> Integers:
    """Patients as whole numbers: (count,) int64; an image without a patient id ('') gets a number of its own.

    Args:
        patients: One id an image, or None when none is known.
        count: How many images there are.
        known: Ids that are numbered first, from 0, so that two sets can be numbered alike.

    Raises:
        InputError: Another number of ids (``patients_mismatched``).
    """
    if patients is None:
        patients = [""] * count
    if len(patients) != count:
        raise InputError(
            f"expected a patient id for each of {count} images, got {len(patients)}: give '' where it is not known",
            code="patients_mismatched",
        )
    numbers = {name: index for index, name in enumerate(dict.fromkeys((*known, *patients)))}
    start = len(numbers)
    return np.array([numbers[one] if one else start + place for place, one in enumerate(patients)], dtype=np.int64)
