"""Batches of rows of similar length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIN_FILL = 0.8  # a batch's shortest row, as a share of its longest: computing padding is wasted


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of all rows in batches of similar length, shortest rows first.

    list(batches_by_length([9, 3, 9, 3], batch_size=2))        # [[1, 3], [0, 2]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == batch_size or lengths[batch[0]] < MIN_FILL * lengths[index]):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
