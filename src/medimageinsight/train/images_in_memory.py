"""Training images that are held in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from medimageinsight import images
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import InputError
from medimageinsight.train.batch_augmentation import augment_batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from medimageinsight.datasets import Sample
    from medimageinsight.train.config import ImageAugmentation

MARGIN = 1.15  # images are held a little larger than the network sees them, for crops without blur


class MemoryImages:
    """Holds all images of the training split in memory and augments a batch at a time.

    With several processes the augmentation depends only on the seed, the step and the process's rank.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        augmentation: ImageAugmentation,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.size, self.augmentation = size, augmentation
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.pixels = torch.from_numpy(load_pixels(samples, round(size * MARGIN))).permute(0, 3, 1, 2)
        self.kinds = [f"{sample.modality} {sample.anatomy}" for sample in samples]

    def load(self, indices: npt.NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:
        """Return augmented images, see `batches.ImageLoader`."""
        if self.world_size > 1:
            rng = np.random.default_rng([self.seed, step, self.rank])
        kinds = [self.kinds[i] for i in indices]
        return augment_batch(self.pixels[indices], self.size, kinds, self.augmentation, rng)

    def close(self) -> None:
        """Do nothing."""


def load_pixels(samples: Sequence[Sample], size: int) -> npt.NDArray[np.uint8]:
    """Load all images at one size, (N, size, size, 3) uint8, resized as for inference.

    Raises:
        DatasetError: Images are missing or broken (``dataset_broken_images``).
    """
    pixels = np.empty((len(samples), size, size, 3), dtype=np.uint8)
    problems: dict[Path, InputError] = {}

    def load(index: int) -> None:
        try:
            image = images.to_rgb(images.open(samples[index].image_source()).upright())
        except InputError as error:
            problems[samples[index].location] = error
        else:
            pixels[index] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, range(len(samples))))
    if problems:
        raise broken_images(problems)
    return pixels
