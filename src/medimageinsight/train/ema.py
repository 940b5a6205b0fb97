"""Averaged weights, which a run validates and saves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from medimageinsight.train.distributed import local_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class WeightEMA:
    """Exponential moving average of the trained weights; the model's other weights are shared with it.

    ``values`` holds one tensor per trained parameter, sharded like the parameter.
    """

    def __init__(self, model: nn.Module, trained: set[str]) -> None:
        self.model = model
        self.values: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters() if name in trained
        }

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        """Add the current weights. The first steps have a smaller decay, so that the average starts close to them."""
        decay = min(decay, (1 + step) / (10 + step))
        current = dict(self.model.named_parameters())
        torch._foreach_lerp_(
            [local_shard(value) for value in self.values.values()],
            [local_shard(current[name].detach()) for name in self.values],
            1 - decay,
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averaged weights in the model within the block; afterwards its own are restored bit for bit."""
        own = {
            name: local_shard(value.detach()) for name, value in self.model.named_parameters() if name in self.values
        }
        saved = {name: value.clone() for name, value in own.items()}
        for name, value in own.items():
            value.copy_(local_shard(self.values[name]))
        try:
            yield
        finally:
            for name, value in own.items():
                value.copy_(saved[name])
