"""The optimiser, its schedule, and clipping."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medimageinsight.train.distributed import is_sharded, own_shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.train.config import OptimizerConfig

_STAGE = re.compile(r"^image_encoder\.(convs|blocks)\.(\d+)(?:\.(\d+))?")
_TEXT_BLOCK = re.compile(r"^lang_encoder\.resblocks\.(\d+)\.")


def build_optimizer(
    model: nn.Module, settings: OptimizerConfig, config: ModelConfig, trained: set[str]
) -> torch.optim.AdamW:
    """AdamW. Weight decay spares biases, norms, depth-wise filters, embeddings and the scale.

    Each group has a ``scale``, the factor on the schedule's learning rate: ``layer_decay`` to the power of how many
    blocks follow, times that of ``rate_factors``.

    Args:
        model: Its parameters.
        settings: Rates and decays.
        config: The network's, for the number of its blocks.
        trained: Names of the parameters that are ever learned.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name not in trained:
            continue
        plain = parameter.ndim < 2 or ".dw." in name or "embedding" in name
        scale = settings.layer_decay ** blocks_after(name, config) * _first(settings.rate_factors, name, 1.0)
        decay = _first(settings.weight_decays, name, 0.0 if plain else settings.weight_decay)
        groups.setdefault((scale, decay), []).append(parameter)
    listed = [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]
    return torch.optim.AdamW(listed, lr=settings.learning_rate, betas=settings.betas)


def _first(patterns: Mapping[str, float], name: str, otherwise: float) -> float:
    """The value of the first pattern that is found in the name."""
    return next((value for pattern, value in patterns.items() if re.search(pattern, name)), otherwise)


def blocks_after(name: str, config: ModelConfig) -> int:
    """How many blocks of its encoder lie between a parameter and the output, its own counted; an embedding adds one."""
    depths = config.image.depths
    if match := _STAGE.match(name):
        kind, stage, block = match[1], int(match[2]), int(match[3]) if match[3] else 0
        return sum(depths[stage:]) - (block if kind == "blocks" else 0)
    if match := _TEXT_BLOCK.match(name):
        return config.text.layers - int(match[1])
    return config.text.layers + 1 if "embedding" in name else 0


def clip_gradients(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Scales the gradients so that their norm over all parameters, and all shards of them, is at most `limit`.

    Returns:
        The norm before; not finite where a gradient is not.
    """
    gradients = [one.grad for one in parameters if one.grad is not None]
    if not any(is_sharded(one) for one in gradients):
        return torch.nn.utils.clip_grad_norm_(parameters, limit)
    square = torch.zeros((), device=gradients[0].device)
    for one in gradients:
        if is_sharded(one):
            square += own_shard(one).float().square().sum()
    dist.all_reduce(square)  # each process has its shards; the others are the same on all
    for one in gradients:
        if not is_sharded(one):
            square += one.float().square().sum()
    norm = square.sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for one in gradients:
        own_shard(one).mul_(factor)
    return norm


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
