"""Training images that remain on disk and are decoded when they are drawn: for datasets larger than memory.

The augmentation of an image depends only on the seed, the step and the image's id, not on the number of processes and
workers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import InputError
from medimageinsight.train.distillation import BatchTargets
from medimageinsight.train.image_augmentation import PixelAugmentation, augment_image, image_rng

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from medimageinsight.datasets import Table
    from medimageinsight.train.targets import StoredTargets


class DiskImages:
    """Decodes and augments the images of the training split in threads, at the size of the network's input."""

    def __init__(self, table: Table, size: int, augmentation: PixelAugmentation, *, seed: int, workers: int) -> None:
        self.samples, self.ids = table.samples, table.ids
        self.size, self.augmentation, self.seed = size, augmentation, seed
        self._pool = ThreadPoolExecutor(workers, "decode")

    def load(self, indices: npt.NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """Return augmented images, see `batches.ImageLoader`."""
        return self._load_all(indices, np.full(len(indices), step))

    def _load_all(self, indices: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> Tensor:
        loaded = list(self._pool.map(lambda index, step: self._load(int(index), int(step)), indices, steps))
        problems = {
            self.samples[int(index)].location: result
            for index, result in zip(indices, loaded, strict=True)
            if isinstance(result, InputError)
        }
        if problems:
            raise broken_images(problems)
        pixels = np.stack([result for result in loaded if not isinstance(result, InputError)])  # (n, S, S, 3) uint8
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _load(self, index: int, step: int) -> npt.NDArray[np.uint8] | InputError:
        sample = self.samples[index]
        try:
            pixels = images.load(sample.image_source())
        except InputError as error:
            return error
        rng = image_rng(self.seed, step, f"{sample.source}\0{self.ids[index]}")
        kind = f"{sample.modality} {sample.anatomy}"
        return augment_image(pixels, self.size, self.augmentation, rng, kind=kind)


class TaughtImages(DiskImages):
    """Loads the copies of images that a teacher saw, with its outputs; the first images of the table have captions."""

    def __init__(
        self,
        table: Table,
        size: int,
        stored: StoredTargets,
        *,
        labelled: int,
        unlabelled_per_batch: int,
        workers: int,
        rank: int = 0,
        world_size: int = 1,
        replay: bool = False,
    ) -> None:
        super().__init__(table, size, stored.header.augmentation, seed=stored.header.seed, workers=workers)
        self.stored, self.labelled, self.per_batch = stored, labelled, unlabelled_per_batch
        self.replay = replay  # the stored features are used instead of images, which have no pixels then
        count = unlabelled_per_batch // world_size
        self.own_unlabelled = slice(rank * count, (rank + 1) * count)

    def load_taught(
        self, indices: npt.NDArray[np.int64], own: slice, rng: np.random.Generator
    ) -> tuple[Tensor, BatchTargets]:
        """Return this process's part of a batch, followed by its part of the step's unlabelled images.

        Args:
            indices: Samples with captions, of the whole batch; `own` are those of this process.
            own: See `batches.own_slice`.
            rng: Of the step, the same in all processes; it draws the copies and the unlabelled images.
        """
        copies = rng.integers(self.stored.header.copies, size=len(indices) + self.per_batch)
        further = np.empty(0, np.int64)
        if self.per_batch:
            further = rng.integers(self.labelled, len(self.samples), size=self.per_batch)
        rows = np.concatenate([indices[own], further[self.own_unlabelled]])
        chosen = np.concatenate([copies[: len(indices)][own], copies[len(indices) :][self.own_unlabelled]])
        pixels = torch.empty(len(rows), 3, 0, 0) if self.replay else self._load_all(rows, chosen)
        return pixels, BatchTargets.of(self.stored, rows, chosen)

    def load_first(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Return the first copies of some images, (count, 3, S, S), and their stored features (count, F)."""
        rows, copies = np.arange(min(count, self.labelled)), np.zeros(min(count, self.labelled), np.int64)
        return self._load_all(rows, copies), BatchTargets.of(self.stored, rows, copies).features
