"""Make and prefetch the training batches of a stage."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Self

import torch

from medimageinsight.train.batches import BatchMaker
from medimageinsight.train.images_in_memory import MemoryImages
from medimageinsight.train.images_on_disk import DiskImages, TaughtImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from medimageinsight.datasets import Table
    from medimageinsight.preprocess import Preprocessing
    from medimageinsight.tokenizer import Tokenizer
    from medimageinsight.train.batches import Batch, ImageLoader
    from medimageinsight.train.captions import CaptionWriter
    from medimageinsight.train.config import RunConfig, StageConfig
    from medimageinsight.train.distributed import Processes
    from medimageinsight.train.teaching import Taught


def create_batch_maker(
    config: RunConfig,
    stage: StageConfig,
    table: Table,
    writer: CaptionWriter,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    processes: Processes,
    taught: Taught | None = None,
) -> BatchMaker:
    """Return the batch maker of a stage; ``table`` is the training split, ``taught`` what a teacher saw of it."""
    size, seed, rank, world_size = preprocessing.image_size[0], config.seed, processes.rank, processes.world_size
    loader: ImageLoader | TaughtImages
    if config.distill is not None and taught is not None:
        loader = TaughtImages(
            taught.table,
            size,
            taught.stored,
            labelled=len(table),
            unlabelled_per_batch=config.distill.unlabelled_per_batch,
            workers=config.data.workers,
            rank=rank,
            world_size=world_size,
            replay=config.distill.replay,
        )
    elif config.data.on_disk:
        loader = DiskImages(table, size, config.pixels, seed=seed, workers=config.data.workers)
    else:
        loader = MemoryImages(table.samples, size, config.images, seed=seed, rank=rank, world_size=world_size)
    return BatchMaker(
        table,
        writer,
        tokenizer,
        preprocessing,
        loader,
        batch_size=stage.batch_size,
        seed=seed,
        data=config.data,
        sources_per_batch=stage.sources_per_batch,
        rank=rank,
        world_size=world_size,
    )


class Prefetcher:
    """Makes the next batches in a thread while the network trains; at most ``depth`` of them wait."""

    def __init__(self, make: Callable[[int], Batch], start: int, end: int, *, depth: int = 1) -> None:
        self.make, self.start, self.end, self.depth = make, start, end, depth
        # One core at most: more threads would compete with those of the network.
        self._pool = ThreadPoolExecutor(1, "batch", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the steps from start to end."""
        steps = iter(range(self.start, self.end))
        pending = deque(self._pool.submit(self.make, step) for step in islice(steps, self.depth))
        while pending:
            batch = pending.popleft().result()
            pending.extend(self._pool.submit(self.make, step) for step in islice(steps, 1))
            yield batch
