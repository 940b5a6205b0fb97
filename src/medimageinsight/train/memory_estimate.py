"""Memory of a training step, computed from the config alone.

The weights, the gradients of the trained weights, the two moments of the optimizer and the averaged weights are
counted. The activations are measured: one image and one text run through the network on PyTorch's "meta" device, which
has shapes but no memory, and every distinct tensor that autograd saves for the backward pass is counted. Activations
count as float32, an upper bound for mixed precision, which in addition has copies of the weights.

A GPU needs `GPU_OVERHEAD` in addition (context, workspaces, fragmentation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from medimageinsight.network.checkpoint import create_meta_model
from medimageinsight.train.config import StartConfig
from medimageinsight.train.initialization import choose_trained
from medimageinsight.train.placement import encoder_blocks

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.network.model import UniCLModel

FLOAT = 4  # bytes
GPU_OVERHEAD = 1.5e9  # bytes
BACKWARD_TENSORS = 3  # of a layer in the backward pass: incoming gradient, outgoing gradient and a workspace


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process by purpose."""

    weights: int
    gradients: int
    optimizer: int  # the two moments of AdamW
    average: int
    activations: int  # saved for the backward pass, of all images and texts that are embedded at a time
    recomputed: int  # of the largest block, with checkpointing, while it is recomputed
    passing: int  # gradients of activations in the backward pass: `BACKWARD_TENSORS` of the largest tensor
    copies: int  # of the weights in lower precision, which autocast caches for the step

    @property
    def total(self) -> int:
        """Bytes without `GPU_OVERHEAD`."""
        fixed = self.weights + self.gradients + self.optimizer + self.average + self.copies
        return fixed + self.activations + self.recomputed + self.passing

    def describe(self) -> str:
        """Return one line per part, in GB (1e9 bytes)."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"total": self.total}
        return "\n".join(f"{name:12} {value / 1e9:8.2f} GB" for name, value in parts.items())


def estimate_memory(
    config: ModelConfig,
    *,
    images: int,
    tokens: int = 77,
    start: StartConfig | None = None,
    precision: str = "fp32",
    checkpointing: bool = False,
) -> Memory:
    """Estimate the memory of a training step.

        start = StartConfig(checkpoint="", learn="lora", rank=16)
        print(estimate_memory(config, images=8, start=start, precision="bf16", checkpointing=True).describe())

    Args:
        config: The network's config.
        images: Number of images embedded at a time, with as many texts: the batch, or `micro_batch`.
        tokens: Length of a text.
        start: Which parameters are trained; None: all.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        checkpointing: As in `ParallelConfig`.
    """
    start = start or StartConfig(checkpoint="")
    if start.drop_path is not None:
        config = replace(config, image=replace(config.image, drop_path=start.drop_path))
    model = create_meta_model(config)
    with torch.device("meta"):
        trained = choose_trained(model, start)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    count = sum(parameter.numel() for parameter in model.parameters())
    trained_count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    outside, blocks, block_inputs, largest = _measure_activations(model, tokens)
    return Memory(
        weights=FLOAT * count,
        gradients=FLOAT * trained_count,
        optimizer=2 * FLOAT * trained_count,
        average=FLOAT * trained_count,
        activations=images * (outside + (block_inputs if checkpointing else sum(blocks))),
        recomputed=images * max(blocks) if checkpointing else 0,
        passing=images * BACKWARD_TENSORS * largest,
        copies=0 if precision == "fp32" else 2 * count,
    )


def _measure_activations(model: UniCLModel, tokens: int) -> tuple[int, list[int], int, int]:
    """Return the bytes that one image and one text save for the backward pass.

    In this order: outside of encoder blocks, in each block, the inputs of all blocks, and the largest tensor.
    """
    parameters = {_storage_id(parameter) for parameter in model.parameters()}
    seen: dict[int, Tensor] = {}  # references, so that no storage id is reused
    saved: list[int] = [0]  # bytes outside of blocks, then of each block
    inputs: list[int] = []
    current = 0  # index into `saved`

    def count(tensor: Tensor) -> Tensor:
        key = _storage_id(tensor)
        if key not in seen and key not in parameters:
            seen[key] = tensor
            saved[current] += tensor.untyped_storage().nbytes()
        return tensor

    def enter(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        nonlocal current
        inputs.append(arguments[0].numel() * FLOAT)
        saved.append(0)
        current = len(saved) - 1

    def leave(block: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
        nonlocal current
        current = 0

    for block in encoder_blocks(model):
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave)
    height, width = model.config.image.image_size
    pixels = torch.zeros(1, 3, height, width, device="meta")
    ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        embedded = model.encode_image(pixels), model.encode_text(ids, ids)
    del embedded
    largest = max(tensor.untyped_storage().nbytes() for tensor in seen.values())
    return saved[0] + pixels.nbytes, saved[1:], sum(inputs), largest


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
