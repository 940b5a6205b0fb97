"""The optimiser, its schedule, and the averaged weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from medimageinsight.train.config import OptimizerConfig

EMA_WARMUP = 10


def build_optimizer(model: nn.Module, settings: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW. Weight decay spares biases, norms, depth-wise filters, embeddings and the scale."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or ".dw." in name or "embedding" in name
        (free if plain else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine from the peak to the final rate."""

    start: int  # the first of its steps, counted from 0
    steps: int
    settings: OptimizerConfig

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from the beginning of the run."""
        done, warmup = step - self.start, self.settings.warmup_steps
        if done < warmup:
            return self.settings.learning_rate * (done + 1) / warmup
        progress = (done - warmup) / max(1, self.steps - warmup)
        low, high = self.settings.final_learning_rate, self.settings.learning_rate
        return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, step: int, decay: float) -> None:
    """Exponential moving average of the weights, in place; the first steps count for more so that it starts close."""
    keep = min(decay, (1 + step) / (EMA_WARMUP + step))
    names, current = zip(*model.state_dict().items(), strict=True)
    torch._foreach_lerp_([average[name] for name in names], list(current), 1 - keep)
