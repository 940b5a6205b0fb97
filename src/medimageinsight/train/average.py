"""Averaged weights: what a run validates and leaves behind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from medimageinsight.train.distributed import own_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

WARMUP = 10  # steps


class Average:
    """Exponential moving average (EMA) of the weights that are ever learned; the others are shared with the model.

    ``values`` has a tensor a parameter, sharded as it is.
    """

    def __init__(self, model: nn.Module, trained: set[str]) -> None:
        self.model = model
        self.values: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in trained
        }

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        """One step further; the first steps count for more so that it starts close."""
        keep = min(decay, (1 + step) / (WARMUP + step))
        current = dict(self.model.named_parameters())
        torch._foreach_lerp_(
            [own_shard(value) for value in self.values.values()],
            [own_shard(current[name].detach()) for name in self.values],
            1 - keep,
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights within the block, and its own again after it, bit for bit."""
        own = {name: own_shard(one.detach()) for name, one in self.model.named_parameters() if name in self.values}
        kept = {name: value.clone() for name, value in own.items()}
        for name, value in own.items():
            value.copy_(own_shard(self.values[name]))
        try:
            yield
        finally:
            for name, value in own.items():
                value.copy_(kept[name])
