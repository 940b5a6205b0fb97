"""The text encoder: CLIP's transformer (arXiv 2103.00020) without its causal mask.

Module names are those of the original checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from medimageinsight.network.config import TextEncoderConfig

LAYER_NORM_EPS = 1e-12


class TextTransformer(nn.Module):
    """Token ids and attention mask, both (B, L), to one feature vector per text, (B, width).

    The feature is that of the first end-of-text token, which has the vocabulary's highest id. Padding keys are masked,
    so the feature does not depend on the padded length.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.resblocks = nn.ModuleList(TextBlock(config) for _ in range(config.layers))
        self.ln_final = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.token_embedding(input_ids) + self.positional_embedding[: input_ids.shape[1]]  # (B, L, width)
        x = self.dropout(x)
        allowed = attention_mask[:, None, None, :] != 0  # (B, 1, 1, L)
        for block in self.resblocks:
            x = block(x, allowed)
        end = input_ids.argmax(dim=-1, keepdim=True)[:, :, None].expand(-1, -1, x.shape[-1])  # (B, 1, width)
        return self.ln_final(x.gather(1, end)[:, 0])


class TextBlock(nn.Module):
    """Pre-norm self-attention and MLP with QuickGELU."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.attn = SelfAttention(config.width, config.heads)
        self.ln_2 = nn.LayerNorm(config.width, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(config.width, 4 * config.width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * config.width, config.width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x), allowed))
        return x + self.dropout(self.mlp(self.ln_2(x)))


class SelfAttention(nn.Module):
    """Multi-head attention with the parameter names of `torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.lora: nn.Module | None = None  # in training: a low-rank update of in_proj_weight

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        if self.lora is not None:
            qkv = qkv + self.lora(x)
        q, k, v = qkv.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attention = (q * self.scale) @ k.transpose(-2, -1)  # (B, heads, L, L)
        x = attention.masked_fill(~allowed, float("-inf")).softmax(dim=-1) @ v  # (B, heads, L, head_dim)
        return self.out_proj(x.transpose(1, 2).reshape(batch, length, width))


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
