"""The common parts of window and text attention with separate queries, keys and values, and their ONNX operator.

Two identities remove the biases of keys and values. The keys' bias adds the same number, its product with the query, to
all logits of a query, and softmax is invariant to that. The attention weights sum to 1, so the values' bias passes
through unchanged and can be folded into the projection's bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from medimageinsight.network.model import UniCLModel


def attend_in_one_operator(model: UniCLModel) -> None:
    """Let ONNX Runtime split heads, multiply and normalise in one kernel instead of six with transposes."""
    for module in model.modules():
        if isinstance(module, Projections):
            module.attend = attention_operator


class Projections(nn.Module):
    """Projections of queries, keys, values and output, as matrices that tokens are multiplied with from the right.

    Args:
        qkv: Weight (3 C, C) and bias (3 C,) of queries, keys and values together.
        out: The output projection.
        scale: Of the logits; it is folded into the queries.
    """

    attend: Callable[[Tensor, Tensor, Tensor, int, Tensor | None], Tensor]  # as `attend_in_steps`

    def __init__(self, qkv: tuple[Tensor, Tensor], out: nn.Linear, scale: float) -> None:
        super().__init__()
        (query, key, value), (query_bias, _, value_bias) = (tensor.chunk(3) for tensor in qkv)
        self.query, self.query_bias = fixed((scale * query).T), fixed(scale * query_bias)
        self.key = fixed(key.T)
        self.value = fixed(value.T)
        self.out, self.out_bias = fixed(out.weight.T), fixed(out.bias + out.weight @ value_bias)
        self.attend = attend_in_steps


def attend_in_steps(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Compute multi-head attention of scaled queries (B, Q, C), keys and values (B, K, C) step by step, as (B, Q, C).

    A mask (Q, K) or (B, 1, Q, K) is added to the logits (B, heads, Q, K).
    """
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (q, k, v))  # (B, heads, Q or K, dim)
    logits = q @ k.transpose(-2, -1)
    if mask is not None:
        logits = logits + mask
    return (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(-2)


def attention_operator(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Compute `attend_in_steps` by ONNX's Attention, a single operator since opset 23."""
    attended: Tensor = torch.onnx.ops.attention(q, k, v, mask, q_num_heads=heads, kv_num_heads=heads, scale=1.0)[0]
    return attended


def fixed(tensor: Tensor) -> nn.Parameter:
    """Return a contiguous weight that is not trained."""
    return nn.Parameter(tensor.detach().contiguous(), requires_grad=False)
