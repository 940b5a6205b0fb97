"""The optimizer, the learning-rate schedule, and gradient clipping."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from medimageinsight.train.distributed import local_shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.train.config import OptimizerConfig, RunConfig, StageConfig

_STAGE = re.compile(r"^image_encoder\.(convs|blocks)\.(\d+)(?:\.(\d+))?")
_STEM = "image_encoder.stem."
_TEXT_BLOCK = re.compile(r"^lang_encoder\.resblocks\.(\d+)\.")


def build_optimizer(
    model: nn.Module, settings: OptimizerConfig, config: ModelConfig, trained: set[str]
) -> torch.optim.AdamW:
    """Return AdamW with parameter groups by learning rate and weight decay.

    Biases, norms, depth-wise filters, embeddings and the logit scale have no weight decay. Each group has a ``scale``,
    the factor on the scheduled learning rate: ``layer_decay`` to the power of the number of blocks that follow, times
    the factor of ``rate_factors``. ``trained`` names the parameters to include.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name not in trained:
            continue
        no_decay = parameter.ndim < 2 or ".dw." in name or "embedding" in name
        scale = settings.layer_decay ** blocks_after(name, config) * _first_match(settings.rate_factors, name, 1.0)
        decay = _first_match(settings.weight_decays, name, 0.0 if no_decay else settings.weight_decay)
        groups.setdefault((scale, decay), []).append(parameter)
    parameter_groups = [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]
    return torch.optim.AdamW(parameter_groups, lr=settings.learning_rate, betas=settings.betas)


def _first_match(patterns: Mapping[str, float], name: str, default: float) -> float:
    return next((value for pattern, value in patterns.items() if re.search(pattern, name)), default)


def blocks_after(name: str, config: ModelConfig) -> int:
    """Count the encoder blocks from a parameter to the output, including its own; an embedding adds one."""
    depths = config.image.depths
    if match := _STAGE.match(name):
        kind, stage, block = match[1], int(match[2]), int(match[3]) if match[3] else 0
        return sum(depths[stage:]) - (block if kind == "blocks" else 0)
    if name.startswith(_STEM):
        return sum(depths)
    if match := _TEXT_BLOCK.match(name):
        return config.text.layers - int(match[1])
    return config.text.layers + 1 if "embedding" in name else 0


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients so that their norm over all parameters and shards is at most `limit`.

    Returns:
        The norm before scaling; not finite if a gradient is not.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(isinstance(gradient, DTensor) for gradient in gradients):
        return torch.nn.utils.clip_grad_norm_(parameters, limit)
    square = torch.zeros((), device=gradients[0].device)
    for gradient in gradients:
        if isinstance(gradient, DTensor):
            square += local_shard(gradient).float().square().sum()
    dist.all_reduce(square)  # sums over shards; gradients that are not sharded are the same on all processes
    for gradient in gradients:
        if not isinstance(gradient, DTensor):
            square += gradient.float().square().sum()
    norm = square.sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        local_shard(gradient).mul_(factor)
    return norm


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then half a cosine from the peak to the final learning rate."""

    start: int  # first step, counted from 0
    steps: int
    settings: OptimizerConfig

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from the beginning of the run."""
        done, warmup = step - self.start, self.settings.warmup_steps
        if done < warmup:
            return self.settings.learning_rate * (done + 1) / warmup
        progress = (done - warmup) / max(1, self.steps - warmup)
        low, high = self.settings.final_learning_rate, self.settings.learning_rate
        return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2


def stage_schedule(config: RunConfig, stage: StageConfig, end: int) -> Schedule:
    """Return the schedule of a stage that ends at step `end`: the run's, or its own if it has a learning rate."""
    if stage.learning_rate is None:
        return Schedule(0, sum(other.steps for other in config.stages if other.learning_rate is None), config.optimizer)
    warmup = min(config.optimizer.warmup_steps, stage.steps // 5)
    settings = replace(config.optimizer, learning_rate=stage.learning_rate, warmup_steps=warmup)
    return Schedule(end - stage.steps, stage.steps, settings)
