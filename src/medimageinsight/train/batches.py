"""A run's pictures, drawn in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medimageinsight.train.data import BatchMaker, draw
from medimageinsight.train.data_disk import DiskBatchMaker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medimageinsight.datasets import Table
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import RunConfig, StageConfig
    from medimageinsight.train.distributed import Processes


def make_batches(
    config: RunConfig,
    stage: StageConfig,
    table: Table,
    writer: CaptionWriter,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    processes: Processes,
) -> BatchMaker | DiskBatchMaker:
    """What makes the batch of a step, this process's part of it; ``table`` is the training split."""
    if not config.data.on_disk:
        return BatchMaker(
            table.samples,
            writer,
            tokenizer,
            preprocessing,
            batch_size=stage.batch_size,
            sources_per_batch=stage.sources_per_batch,
            seed=config.seed,
            data=config.data,
            augmentation=config.images,
            rank=processes.rank,
            world=processes.world,
        )
    return DiskBatchMaker(
        table,
        writer,
        tokenizer,
        preprocessing,
        batch_size=stage.batch_size,
        seed=config.seed,
        augmentation=config.pixels,
        data=config.data,
        sources_per_batch=stage.sources_per_batch,
        rank=processes.rank,
        world=processes.world,
        workers=config.data.workers,
    )


def drawn_samples(maker: BatchMaker | DiskBatchMaker, step: int) -> NDArray[np.int64]:
    """The samples of a step's whole batch, (B,) indices, as the maker draws them."""
    rng = np.random.default_rng([maker.seed, step])
    return draw(maker.weights, maker.sources, maker.batch_size, maker.sources_per_batch, rng)
