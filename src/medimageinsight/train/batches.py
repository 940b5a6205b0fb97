"""Training batches.

A batch is a pure function of the seed and the step: no sampler state needs saving, and a resumed run sees the same
batches as an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medimageinsight.errors import ConfigError
from medimageinsight.train.images_on_disk import TaughtImages
from medimageinsight.train.sampling import draw_samples, sampling_weights

if TYPE_CHECKING:
    from medimageinsight.datasets import Table
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import DataConfig
    from medimageinsight.train.distillation import BatchTargets


@dataclass(frozen=True, slots=True)
class Batch:
    """The input of one training step."""

    pixel_values: Tensor  # (B, 3, S, S) float32, normalised, channels last
    input_ids: Tensor  # (B, L) int64
    attention_mask: Tensor  # (B, L) int64
    positives: Tensor  # (images, texts) bool, of all processes in the order of their ranks
    unlabelled: Tensor | None = None  # (U, 3, S, S), further images for distillation
    targets: BatchTargets | None = None  # for distillation, (B + U) images
    features: Tensor | None = None  # (B, F), stored ones of the image encoder; the pixels are then (B, 3, 0, 0)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = value.pin_memory().to(device, non_blocking=True)
        return Batch(**{**values, "targets": None if self.targets is None else self.targets.to(device)})


def own_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """Return a process's part of a batch.

    Raises:
        ConfigError: The batch cannot be divided evenly (``batch_uneven``).
    """
    if batch_size % world_size:
        raise ConfigError(
            f"expected a batch_size that is a multiple of the {world_size} processes, got {batch_size}: choose another",
            code="batch_uneven",
        )
    count = batch_size // world_size
    return slice(rank * count, (rank + 1) * count)


class ImageLoader(Protocol):
    """Loads and augments the images of a batch."""

    def load(self, indices: npt.NDArray[np.int64], step: int, rng: np.random.Generator) -> Tensor:
        """Return the samples' images as a new tensor (n, 3, S, S) float32 in 0..1, channels last.

        Raises:
            DatasetError: Images cannot be read (``dataset_broken_images``).
        """

    def close(self) -> None:
        """Release threads and memory."""


class BatchMaker:
    """Makes the batch of a step at one image size.

    With several processes each draws the same batch of ``batch_size`` samples of the training split, ``table``, and
    makes its own part of it. The seed is the only source of randomness together with the step.
    """

    def __init__(
        self,
        table: Table,
        writer: CaptionWriter,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
        loader: ImageLoader | TaughtImages,
        *,
        batch_size: int,
        seed: int,
        data: DataConfig,
        sources_per_batch: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.samples, self.writer, self.tokenizer, self.loader = table.samples, writer, tokenizer, loader
        self.batch_size, self.seed, self.sources_per_batch = batch_size, seed, sources_per_batch
        self.own = own_slice(batch_size, rank, world_size)
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )
        self.weights = sampling_weights(self.samples, data)
        self.sources = np.array([sample.source for sample in self.samples])

    def __call__(self, step: int) -> Batch:
        """Make this process's part of the batch of a step, counted from 0.

        Raises:
            DatasetError: Images cannot be read (``dataset_broken_images``).
        """
        rng = np.random.default_rng([self.seed, step])
        indices = self._draw(rng)
        captions = self.writer.write(indices, rng)
        input_ids, attention_mask = self.tokenizer.pad(self.tokenizer.encode(captions.texts[self.own]))
        targets: BatchTargets | None = None
        if isinstance(self.loader, TaughtImages):
            pixels, targets = self.loader.load_taught(indices, self.own, rng)
        else:
            pixels = self.loader.load(indices[self.own], step, rng)
        pixels.sub_(self.mean).div_(self.std)  # in place: allocating memory is the main cost
        labelled = len(indices[self.own])
        return Batch(
            pixel_values=pixels[:labelled],
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(attention_mask),
            positives=torch.from_numpy(self.writer.positives(indices, captions.stated)),
            unlabelled=pixels[labelled:] if len(pixels) > labelled else None,
            targets=targets,
            features=targets.features if targets is not None and not pixels.numel() else None,
        )

    def sample_indices(self, step: int) -> npt.NDArray[np.int64]:
        """Return the samples of the whole batch of a step, (batch_size,) indices."""
        return self._draw(np.random.default_rng([self.seed, step]))

    def close(self) -> None:
        """Close the loader."""
        self.loader.close()

    def _draw(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return draw_samples(self.weights, self.sources, self.batch_size, self.sources_per_batch, rng)
