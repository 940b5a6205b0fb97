"""The optimiser, its schedule, and the averaged weights."""

from __future__ import annotations

import math
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


def learning_rate(step: int, steps: int, settings: OptimizerConfig) -> float:
    """Linear warm-up, then half a cosine from the peak to the final rate. Steps count from 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    low, high = settings.final_learning_rate, settings.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, step: int, decay: float) -> None:
    """Exponential moving average of the weights, in place; the first steps count for more so that it starts close."""
    keep = min(decay, (1 + step) / (EMA_WARMUP + step))
    names, current = zip(*model.state_dict().items(), strict=True)
    torch._foreach_lerp_([average[name] for name in names], list(current), 1 - keep)
