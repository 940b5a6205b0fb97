"""Batches of pictures that stay on disk and are decoded when they are drawn: for sets larger than memory.

As in `data`, a batch is a pure function of the seed and the step. A picture's changes depend on the seed, the step and
its id, so the number of processes and of workers changes nothing but the time it takes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from medimageinsight import images
from medimageinsight.datasets.table import broken_images
from medimageinsight.errors import InputError
from medimageinsight.train.augment_pixels import PixelAugmentation, augment_pixels, picture_rng
from medimageinsight.train.data import Batch, draw, own_part, sampling_weights

if TYPE_CHECKING:
    import numpy.typing as npt

    from medimageinsight.datasets.sample import Table
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import DataConfig


class DiskBatchMaker:
    """Draws the batch of a step and decodes its pictures on threads.

    With ``world`` processes each draws the same batch of ``batch_size`` and makes its own part of it.

    Args:
        table: The training split.
        writer: Made of the table's samples, in order.
        tokenizer: Of the captions.
        preprocessing: Size, mean and standard deviation.
        batch_size: Of all processes together.
        seed: Of everything that is drawn.
        augmentation: Changes to pictures.
        data: How often each picture is drawn.
        sources_per_batch: As in `StageConfig`.
        rank: This process's number.
        world: How many processes there are.
        workers: Threads that decode.
    """

    def __init__(
        self,
        table: Table,
        writer: CaptionWriter,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        augmentation: PixelAugmentation,
        data: DataConfig,
        sources_per_batch: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 4,
    ) -> None:
        self.samples, self.ids = table.samples, table.ids
        self.writer, self.tokenizer = writer, tokenizer
        self.side = preprocessing.image_size[0]
        self.batch_size, self.seed, self.augmentation = batch_size, seed, augmentation
        self.own = own_part(batch_size, rank, world)
        self.weights = sampling_weights(self.samples, data)
        self.sources = np.array([sample.source for sample in self.samples])
        self.sources_per_batch = sources_per_batch
        self.mean, self.std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )
        self._pool = ThreadPoolExecutor(workers, "decode")

    def __call__(self, step: int) -> Batch:
        """The batch of a step, counted from 0.

        Raises:
            DatasetError: Pictures cannot be read (``dataset_broken_images``).
        """
        rng = np.random.default_rng([self.seed, step])
        indices = draw(self.weights, self.sources, self.batch_size, self.sources_per_batch, rng)
        texts = self.writer.write(indices, rng)
        input_ids, attention_mask = self.tokenizer.pad(self.tokenizer.encode(texts.texts[self.own]))
        x = torch.from_numpy(self._pixels(indices[self.own], step)).permute(0, 3, 1, 2)  # (B, 3, S, S), channels last
        return Batch(
            pixel_values=x.float().div_(255).sub_(self.mean).div_(self.std),  # in place: fresh memory is what costs
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(attention_mask),
            positives=torch.from_numpy(self.writer.positives(indices, texts.stated)),
        )

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _pixels(self, indices: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.uint8]:
        """(B, S, S, 3) uint8."""
        made = list(self._pool.map(lambda index: self._one(int(index), step), indices))
        problems = {
            self.samples[int(index)].place: one
            for index, one in zip(indices, made, strict=True)
            if isinstance(one, InputError)
        }
        if problems:
            raise broken_images(problems)
        return np.stack([one for one in made if not isinstance(one, InputError)])

    def _one(self, index: int, step: int) -> npt.NDArray[np.uint8] | InputError:
        sample = self.samples[index]
        try:
            pixels = images.load(sample.picture())
        except InputError as error:
            return error
        rng = picture_rng(self.seed, step, f"{sample.source}\0{self.ids[index]}")
        kind = f"{sample.modality} {sample.anatomy}"
        return augment_pixels(pixels, self.side, self.augmentation, rng, kind=kind)
