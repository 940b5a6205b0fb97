"""Pictures in memory and the batches drawn from them.

A batch is a pure function of the seed and the step: nothing about the sampler needs saving, and a resumed run sees just
what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from medimageinsight import images
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import ConfigError, InputError
from medimageinsight.train.augment import augment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from medimageinsight.datasets.table import Sample
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import DataConfig, ImageAugmentation

MARGIN = 1.15  # pictures are kept a little larger than they are shown, for crops without blur


def load_pixels(samples: Sequence[Sample], side: int) -> npt.NDArray[np.uint8]:
    """All pictures at one size: (N, side, side, 3) uint8, resized as inference resizes.

    Raises:
        DatasetError: Pictures are missing or broken; all of them are counted and the first named.
    """
    pixels = np.empty((len(samples), side, side, 3), dtype=np.uint8)
    problems: dict[Path, InputError] = {}

    def load(index: int) -> None:
        try:
            picture = images.to_rgb(images.open(samples[index].picture()).upright())
        except InputError as error:
            problems[samples[index].place] = error
        else:
            pixels[index] = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, range(len(samples))))
    if problems:
        raise broken_images(problems)
    return pixels


def sampling_weights(samples: Sequence[Sample], settings: DataConfig) -> npt.NDArray[np.float64]:
    """The probability with which each sample is drawn, (N,), sums to 1. See `DataConfig`."""
    sources = Counter(sample.source for sample in samples)
    classes = Counter((sample.source, sample.label) for sample in samples)
    of_class = {key: count**settings.class_power for key, count in classes.items()}
    of_source: dict[str, float] = defaultdict(float)
    for (source, _), weight in of_class.items():
        of_source[source] += weight
    weights = np.array(
        [
            sources[sample.source] ** settings.sampling_power
            * settings.source_weights.get(sample.source, 1.0)
            * of_class[sample.source, sample.label]
            / of_source[sample.source]
            / classes[sample.source, sample.label]
            for sample in samples
        ]
    )
    return np.asarray(weights / weights.sum())


def draw(
    weights: npt.NDArray[np.float64],
    sources: npt.NDArray[np.str_],
    count: int,
    sources_per_batch: int | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """The samples of one batch, (count,) indices.

    Args:
        weights: (N,), the probability of each sample, sums to 1.
        sources: (N,), the source of each sample.
        count: How many to draw.
        sources_per_batch: Of how many sources, in equal parts; None draws each sample from all of them.
        rng: The only source of chance.
    """
    names, of_source = np.unique(sources, return_inverse=True)
    if sources_per_batch is None or sources_per_batch >= len(names):
        return rng.choice(len(weights), count, p=weights)
    shares = np.bincount(of_source, weights)
    chosen = rng.choice(len(names), sources_per_batch, replace=False, p=shares)
    parts = []
    for source, part in zip(chosen, np.array_split(np.arange(count), sources_per_batch), strict=True):
        within = np.where(of_source == source, weights, 0)
        parts.append(rng.choice(len(weights), len(part), p=within / within.sum()))
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from."""

    pixel_values: Tensor  # (B, 3, S, S) float32, normalised, channels last
    input_ids: Tensor  # (B, L) int64
    attention_mask: Tensor  # (B, L) int64
    positives: Tensor  # (B, B) bool, images by texts; of all processes' pictures and texts, in the order of their ranks


def own_part(batch_size: int, rank: int, world: int) -> slice:
    """Which of a batch's pictures are a process's own.

    Raises:
        ConfigError: The batch cannot be shared evenly (``batch_uneven``).
    """
    if batch_size % world:
        raise ConfigError(
            f"expected a batch that {world} processes share evenly, got {batch_size}: choose a multiple",
            code="batch_uneven",
        )
    return slice(rank * (batch_size // world), (rank + 1) * (batch_size // world))


class BatchMaker:
    """Draws the batch of a step at one picture size; the pictures are held in memory.

    With ``world`` processes each draws the same batch of ``batch_size`` and makes its own part of it.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        writer: CaptionWriter,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        sources_per_batch: int | None = None,
        seed: int,
        data: DataConfig,
        augmentation: ImageAugmentation,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rank, self.world, self.own = rank, world, own_part(batch_size, rank, world)
        self.samples = samples
        self.writer = writer
        self.tokenizer = tokenizer
        self.side = preprocessing.image_size[0]
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.weights = sampling_weights(samples, data)
        self.sources = np.array([sample.source for sample in samples])
        self.sources_per_batch = sources_per_batch
        self.pixels = torch.from_numpy(load_pixels(samples, round(self.side * MARGIN))).permute(0, 3, 1, 2)
        self.kinds = [f"{sample.modality} {sample.anatomy}" for sample in samples]
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )

    def __call__(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        rng = np.random.default_rng([self.seed, step])
        indices = draw(self.weights, self.sources, self.batch_size, self.sources_per_batch, rng)
        texts = self.writer.write(indices, rng)
        input_ids, attention_mask = self.tokenizer.pad(self.tokenizer.encode(texts.texts[self.own]))
        if self.world > 1:
            rng = np.random.default_rng([self.seed, step, self.rank])
        own = indices[self.own]
        x = augment(self.pixels[own], self.side, [self.kinds[i] for i in own], self.augmentation, rng)
        return Batch(
            pixel_values=(x - self.mean) / self.std,
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(attention_mask),
            positives=torch.from_numpy(self.writer.positives(indices, texts.stated)),
        )


class Prefetcher:
    """Makes the next batches on a thread while the network learns from this one; ``depth`` of them wait at most."""

    def __init__(self, make: Callable[[int], Batch], start: int, end: int, *, depth: int = 1) -> None:
        self.make, self.start, self.end, self.depth = make, start, end, depth
        # One core at most: a second team of threads would only get in the way of the network's.
        self._pool = ThreadPoolExecutor(1, "batch", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the steps from start to end."""
        steps = iter(range(self.start, self.end))
        coming = deque(self._pool.submit(self.make, step) for step in islice(steps, self.depth))
        while coming:
            batch = coming.popleft().result()
            coming.extend(self._pool.submit(self.make, step) for step in islice(steps, 1))
            yield batch
