"""Low-rank adapters (LoRA, arXiv 2106.09685): a frozen weight W and a trained low-rank update, W + scale B A.

The update is added to the layer's output during training, and to the weight itself for export, so that a finished model
has the usual parameters.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from medimageinsight.errors import ConfigError
from medimageinsight.network.text_encoder import SelfAttention

# Matrix products of attention and MLP in both encoders; not embeddings, convolutions and projections.
PRODUCTS = r"\.(qkv|proj|fc1|fc2|attn|out_proj|c_fc|c_proj)$"


class LowRankUpdate(nn.Module):
    """Computes scale B A x, (..., inputs) to (..., outputs); initially zero."""

    def __init__(self, inputs: int, outputs: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.a = nn.Parameter(torch.randn(rank, inputs) * inputs**-0.5)
        self.b = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the addition to the layer's output."""
        return (x @ self.a.T) @ self.b.T * self.scale


def add_updates(model: nn.Module, rank: int, alpha: float, layers: str = PRODUCTS) -> list[str]:
    """Add an update to each matching layer and return the names of these layers.

    Raises:
        ConfigError: No layer's name matches (``lora_no_layer``).
    """
    pattern = re.compile(layers)
    found = [
        (name, module)
        for name, module in model.named_modules()
        if pattern.search(f".{name}") and isinstance(module, nn.Linear | SelfAttention)
    ]
    if not found:
        raise ConfigError(f"expected layers that match {layers!r}, got none", code="lora_no_layer")
    for _, module in found:
        weight = module.in_proj_weight if isinstance(module, SelfAttention) else module.weight
        outputs, inputs = weight.shape
        module.lora = LowRankUpdate(inputs, outputs, rank, alpha)
        if isinstance(module, nn.Linear):
            module.register_forward_hook(_add_update)
    return [name for name, _ in found]


def merged_state(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the full tensors `state` with their updates added, named as in a network without updates."""
    merged = {name: value for name, value in state.items() if ".lora." not in f".{name}"}
    for name, module in model.named_modules():
        if not isinstance(getattr(module, "lora", None), LowRankUpdate):
            continue
        weight = f"{name}.in_proj_weight" if isinstance(module, SelfAttention) else f"{name}.weight"
        a, b = state[f"{name}.lora.a"], state[f"{name}.lora.b"]
        delta = module.lora.scale * (b.double() @ a.double())
        merged[weight] = (merged[weight].double() + delta).to(merged[weight].dtype)
    return merged


def _add_update(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    added: Tensor = module.lora(inputs[0])  # type: ignore[operator]
    return output + added
