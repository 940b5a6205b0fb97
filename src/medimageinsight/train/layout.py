"""How a network lies on the machine: its device, what its blocks keep for the way back, and its shards."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from medimageinsight.errors import ConfigError
from medimageinsight.network.davit import Block
from medimageinsight.network.text import TextBlock

if TYPE_CHECKING:
    from torch import nn

    from medimageinsight.network.model import UniCLModel
    from medimageinsight.train.config import ParallelConfig
    from medimageinsight.train.distributed import Processes


def lay_out(model: UniCLModel, settings: ParallelConfig, processes: Processes) -> UniCLModel:
    """The same model in its place, ready for training.

    Raises:
        ConfigError: Shards without several processes (``shard_alone``).
    """
    # Channels last is faster for convolutions; FSDP takes parameters in the usual order alone.
    order = torch.contiguous_format if settings.strategy == "shard" else torch.channels_last
    model = model.to(processes.device, memory_format=order)  # type: ignore[call-overload]
    if settings.checkpointing:
        for block in blocks(model):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    if settings.strategy == "shard":
        _shard(model, processes)
    return model


def blocks(model: UniCLModel) -> list[nn.Module]:
    """Of both encoders: what is computed again with checkpointing, and gathered at once with shards."""
    return [module for module in model.modules() if isinstance(module, Block | TextBlock)]


def _shard(model: UniCLModel, processes: Processes) -> None:
    """FSDP over both encoders. The projections and the scale are small and stay whole."""
    if processes.world == 1:
        raise ConfigError(
            "config.parallel.strategy: expected several processes for shard, got one: start it with torchrun",
            code="shard_alone",
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(processes.device.type, (processes.world,))
    for module in [*blocks(model), model.image_encoder, model.lang_encoder]:
        # Encoders would otherwise stay whole after a validation, and be taken for the parameters.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
