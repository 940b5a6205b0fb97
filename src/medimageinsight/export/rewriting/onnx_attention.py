"""Attention as a single ONNX operator, which exists since opset 23."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from medimageinsight.export.rewriting.text_encoder import SeparateAttention
from medimageinsight.export.rewriting.window_attention import RealTokenAttention

if TYPE_CHECKING:
    from torch import Tensor

    from medimageinsight.network.model import UniCLModel


def attend_in_one_operator(model: UniCLModel) -> None:
    """Let ONNX Runtime split heads, multiply and normalise in one kernel instead of six with transposes."""
    for module in model.modules():
        if isinstance(module, RealTokenAttention | SeparateAttention):
            module.attend = attention_operator


def attention_operator(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Compute `attend_in_steps` by ONNX's Attention."""
    attended: Tensor = torch.onnx.ops.attention(q, k, v, mask, q_num_heads=heads, kv_num_heads=heads, scale=1.0)[0]
    return attended
