"""What a training step needs in memory, from the config alone.

The weights, the gradients of the learned ones, the optimizer's two moments and the averaged weights are counted. The
activations are seen: one picture and one text run through the network on PyTorch's "meta" device, which has shapes and
no memory, and every distinct tensor that autograd keeps for the way back counts. They count as float32, which bounds
mixed precision from above; that has copies of the weights besides.

A GPU's own share (context, workspaces, fragmentation) comes on top: `OVERHEAD` stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from medimageinsight.network.checkpoint import meta_model
from medimageinsight.train.config import StartConfig
from medimageinsight.train.layout import blocks
from medimageinsight.train.start import choose_trained

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medimageinsight.network.config import ModelConfig
    from medimageinsight.network.model import UniCLModel

FLOAT = 4  # bytes
OVERHEAD = 1.5e9  # bytes, on a GPU
PASSING = 3  # on the way back a layer has the gradient that comes, the one that goes, and a workspace


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process."""

    weights: int
    gradients: int
    optimizer: int  # AdamW's two moments
    average: int
    activations: int  # kept for the way back, of all pictures and texts that are embedded at a time
    recomputed: int  # of the largest block, with checkpointing, while it is computed again
    passing: int  # gradients of activations on their way: `PASSING` of the largest tensor
    copies: int  # of the weights in lower precision, which autocast makes and keeps for the step

    @property
    def total(self) -> int:
        """Bytes, without a GPU's own share."""
        return (
            self.weights
            + self.gradients
            + self.optimizer
            + self.average
            + self.activations
            + self.recomputed
            + self.passing
            + self.copies
        )

    def describe(self) -> str:
        """A line a part, in GB (1e9 bytes)."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"total": self.total}
        return "\n".join(f"{name:12} {value / 1e9:8.2f} GB" for name, value in parts.items())


def estimate_memory(
    config: ModelConfig,
    *,
    pictures: int,
    tokens: int = 77,
    learn: StartConfig | None = None,
    precision: str = "fp32",
    checkpointing: bool = False,
) -> Memory:
    """The memory of a step.

        learn = StartConfig(checkpoint="", learn="lora", rank=16)
        print(estimate_memory(config, pictures=8, learn=learn, precision="bf16", checkpointing=True).describe())

    Args:
        config: The network.
        pictures: Embedded at a time, with as many texts: the batch, or `micro_batch`.
        tokens: Of a text.
        learn: What is learned; None: everything.
        precision: ``fp32``, ``bf16``, ``fp16``.
        checkpointing: As in `ParallelConfig`.
    """
    learn = learn or StartConfig(checkpoint="")
    if learn.drop_path is not None:
        config = replace(config, image=replace(config.image, drop_path=learn.drop_path))
    model = meta_model(config)
    with torch.device("meta"):
        trained = choose_trained(model, learn)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    every = sum(one.numel() for one in model.parameters())
    learned = sum(one.numel() for one in model.parameters() if one.requires_grad)
    outside, of_blocks, inputs, largest = _activations(model, tokens)
    return Memory(
        weights=FLOAT * every,
        gradients=FLOAT * learned,
        optimizer=2 * FLOAT * learned,
        average=FLOAT * learned,
        activations=pictures * (outside + (inputs if checkpointing else sum(of_blocks))),
        recomputed=pictures * max(of_blocks) if checkpointing else 0,
        passing=pictures * PASSING * largest,
        copies=0 if precision == "fp32" else 2 * every,
    )


def _activations(model: UniCLModel, tokens: int) -> tuple[int, list[int], int, int]:
    """Bytes of one picture and one text: kept outside of blocks, in each block, blocks' inputs, the largest tensor."""
    parameters = {_storage(one) for one in model.parameters()}
    seen: dict[int, Tensor] = {}  # holding them keeps their storages apart
    held: list[int] = [0]  # outside, then of each block
    inputs: list[int] = []
    place = 0

    def keep(tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key not in seen and key not in parameters:
            seen[key] = tensor
            held[place] += tensor.untyped_storage().nbytes()
        return tensor

    def enter(block: nn.Module, arguments: tuple[Tensor, ...]) -> None:  # noqa: ARG001
        nonlocal place
        inputs.append(arguments[0].numel() * FLOAT)
        held.append(0)
        place = len(held) - 1

    def leave(block: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
        nonlocal place
        place = 0

    for block in blocks(model):
        block.register_forward_pre_hook(enter)
        block.register_forward_hook(leave)
    height, width = model.config.image.image_size
    pixels = torch.zeros(1, 3, height, width, device="meta")
    ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        embedded = model.encode_image(pixels), model.encode_text(ids, ids)
    del embedded
    largest = max(tensor.untyped_storage().nbytes() for tensor in seen.values())
    return held[0] + pixels.nbytes, held[1:], sum(inputs), largest


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
