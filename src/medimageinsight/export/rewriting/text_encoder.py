"""The text encoder's attention, and its last block for the end token only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medimageinsight.export.rewriting.attention import Projections

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.network.text_encoder import SelfAttention, TextTransformer


def separate_text_queries(model: UniCLModel) -> None:
    """Compute queries, keys and values by a product each instead of slices of one; fold biases and scale."""
    blocks: Any = model.lang_encoder.resblocks
    for block in blocks:
        block.attn = SeparateAttention(block.attn)


def finish_end_token_alone(model: UniCLModel) -> None:
    """Compute only keys and values of the other tokens in the last block: the feature is the end-of-text token's."""
    model.lang_encoder = EndTokenTransformer(model.lang_encoder)  # type: ignore[assignment]  # same interface


class SeparateAttention(nn.Module):
    """`SelfAttention` with all tokens or some of them as queries."""

    def __init__(self, original: SelfAttention) -> None:
        super().__init__()
        self.heads = original.heads
        self.projections = Projections(
            (original.in_proj_weight, original.in_proj_bias), original.out_proj, original.scale
        )

    def forward(self, x: Tensor, allowed: Tensor, queries: Tensor | None = None) -> Tensor:
        """Attend from `queries` (B, Q, width), by default x (B, L, width), to the `allowed` tokens of x."""
        weights = self.projections
        q = (x if queries is None else queries) @ weights.query + weights.query_bias
        mask = torch.where(allowed, 0.0, float("-inf")).expand(-1, -1, q.shape[1], -1)  # (B, 1, Q, L)
        attended = weights.attend(q, x @ weights.key, x @ weights.value, self.heads, mask)
        return attended @ weights.out + weights.out_bias


class EndTokenTransformer(nn.Module):
    """`TextTransformer` whose last block has one query per text."""

    def __init__(self, original: TextTransformer) -> None:
        super().__init__()
        self.token_embedding = original.token_embedding
        self.positional_embedding = original.positional_embedding
        self.resblocks = original.resblocks
        self.ln_final = original.ln_final

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.token_embedding(input_ids) + self.positional_embedding[: input_ids.shape[1]]  # (B, L, width)
        allowed = attention_mask[:, None, None, :] != 0  # (B, 1, 1, L)
        blocks: list[Any] = list(self.resblocks)
        for block in blocks[:-1]:
            x = block(x, allowed)
        end = input_ids.argmax(dim=-1, keepdim=True)[:, :, None].expand(-1, -1, x.shape[-1])  # (B, 1, width)
        last, token = blocks[-1], x.gather(1, end)
        token = token + last.attn(last.ln_1(x), allowed, last.ln_1(token))
        token = token + last.mlp(last.ln_2(token))
        return self.ln_final(token[:, 0])
