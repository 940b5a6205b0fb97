"""Placement of the network: its device and memory format, activation checkpointing, and shards (FSDP)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from medimageinsight.errors import ConfigError
from medimageinsight.network.davit import Block
from medimageinsight.network.efficientnet import InvertedResidual
from medimageinsight.network.text_encoder import TextBlock

if TYPE_CHECKING:
    from torch import nn

    from medimageinsight.network.model import UniCLModel
    from medimageinsight.train.config import ParallelConfig
    from medimageinsight.train.distributed import Processes


def parallelize(model: UniCLModel, settings: ParallelConfig, processes: Processes) -> UniCLModel:
    """Return the model on its device, with checkpointing and shards as configured.

    Raises:
        ConfigError: Shards need several processes (``shard_alone``).
    """
    # Channels last is faster for convolutions; FSDP supports only the contiguous format.
    memory_format = torch.contiguous_format if settings.strategy == "shard" else torch.channels_last
    model = model.to(processes.device, memory_format=memory_format)  # type: ignore[call-overload]
    if settings.checkpointing:
        for block in encoder_blocks(model):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
    if settings.strategy == "shard":  # both encoders; the projections and the logit scale are small and remain whole
        if processes.world_size == 1:
            raise ConfigError(
                "config.parallel.strategy: expected several processes for shard, got 1: start it with torchrun",
                code="shard_alone",
            )
        mesh = init_device_mesh(processes.device.type, (processes.world_size,))
        for module in [*encoder_blocks(model), model.image_encoder, model.lang_encoder]:
            # Without resharding, an encoder's parameters would remain whole after a validation.
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    return model


def encoder_blocks(model: UniCLModel) -> list[nn.Module]:
    """Return the blocks of both encoders: the units of activation checkpointing and of sharding."""
    return [module for module in model.modules() if isinstance(module, Block | InvertedResidual | TextBlock)]
