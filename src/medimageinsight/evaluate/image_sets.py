"""Sets of images as embeddings, for outliers and drift: tables of images, image files, or stored embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.datasets import broken_images, patient_ids
from medimageinsight.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from medimageinsight.adapters import ImageModel
    from medimageinsight.datasets import Table


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Embeddings of a set of images.

    Attributes:
        embeddings: (N, D) float32.
        patients: A patient id for each image ('' where unknown), or None where none is known.
    """

    embeddings: NDArray[np.float32]
    patients: Sequence[str] | None = None


def embed_image_table(model: ImageModel, table: Table, *, progress: Callable[[int], None] | None = None) -> ImageSet:
    """Embed all images of a table.

    Raises:
        DatasetError: Images that cannot be read, all in one message (``dataset_broken_images``).
    """
    paths = [sample.path for sample in table.samples]
    results = model.embed_images(paths, errors="return", progress=progress)
    failed = {path: result for path, result in zip(paths, results, strict=True) if isinstance(result, InputError)}
    if failed:
        raise broken_images(failed)
    embeddings = [result for result in results if not isinstance(result, InputError)]
    return ImageSet(embeddings=np.stack(embeddings), patients=patient_ids(table.samples))


def read_embeddings(path: str | Path) -> ImageSet:
    """Read a file of ``mi2 embed --out F.npy``, without the NaN rows of images that failed.

    Raises:
        InputError: No array of floats with two axes (``vectors_invalid``).
        OSError: The file cannot be read.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        array = None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        found = f"an array {array.shape} of {array.dtype}" if isinstance(array, np.ndarray) else "no NumPy array"
        raise InputError(
            f"expected vectors as mi2 embed --out F.npy writes them, got {found}: embed the images again",
            code="vectors_invalid",
        )
    return ImageSet(embeddings=array[~np.isnan(array).all(axis=1)].astype(np.float32))
