"""Averaged weights, which a run validates and saves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from medimageinsight.network.efficientnet import running_statistics
from medimageinsight.train.distributed import local_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


def changing_tensors(model: nn.Module, trained: set[str]) -> dict[str, Tensor]:
    """Return the trained parameters and the running statistics of trained norms, by name."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in trained}
    return {**parameters, **dict(running_statistics(model, trained))}


class WeightEMA:
    """Exponential moving average of the trained weights; the model's other weights are shared with it.

    ``values`` holds one tensor per trained parameter, sharded like the parameter, and the running statistics.
    """

    def __init__(self, model: nn.Module, trained: set[str]) -> None:
        self.model, self.trained = model, trained
        self.values: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in changing_tensors(model, trained).items()
        }

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        """Add the current weights. The first steps have a smaller decay, so that the average starts close to them."""
        decay = min(decay, (1 + step) / (10 + step))
        current = changing_tensors(self.model, self.trained)
        torch._foreach_lerp_(
            [local_shard(value) for value in self.values.values()],
            [local_shard(current[name].detach()) for name in self.values],
            1 - decay,
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use the averaged weights in the model within the block; afterwards its own are restored bit for bit."""
        current = changing_tensors(self.model, self.trained)
        own = {name: local_shard(value.detach()) for name, value in current.items()}
        saved = {name: value.clone() for name, value in own.items()}
        for name, value in own.items():
            value.copy_(local_shard(self.values[name]))
        try:
            yield
        finally:
            for name, value in own.items():
                value.copy_(saved[name])
