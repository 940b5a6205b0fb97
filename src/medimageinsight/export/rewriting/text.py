"""The text encoder's attention, and its last block for the one token that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medimageinsight.export.rewriting.attention import Attend, Projections, attend_in_steps

if TYPE_CHECKING:
    from medimageinsight.network.model import UniCLModel
    from medimageinsight.network.text import SelfAttention, TextTransformer


def separate_text_queries(model: UniCLModel) -> None:
    """Queries, keys and values by a product each, so that none is cut out of a common one; biases and scale folded."""
    blocks: Any = model.lang_encoder.resblocks
    for block in blocks:
        block.attn = SeparateAttention(block.attn)


def finish_end_token_alone(model: UniCLModel) -> None:
    """The feature is that of the first end-of-text token: in the last block, no other needs more than key and value."""
    model.lang_encoder = EndTokenTransformer(model.lang_encoder)  # type: ignore[assignment]  # the same face


class SeparateAttention(nn.Module):
    """`SelfAttention`, for all tokens or for some of them as queries."""

    attend: Attend

    def __init__(self, original: SelfAttention) -> None:
        super().__init__()
        self.heads = original.heads
        self.projections = Projections(
            (original.in_proj_weight, original.in_proj_bias), original.out_proj, original.scale
        )
        self.attend = attend_in_steps

    def forward(self, x: Tensor, allowed: Tensor, queries: Tensor | None = None) -> Tensor:
        """Tokens (B, L, width), keys that may be seen (B, 1, 1, L), and queries (B, Q, width), else the tokens."""
        weights = self.projections
        q = (x if queries is None else queries) @ weights.query + weights.query_bias
        mask = torch.where(allowed, 0.0, float("-inf")).expand(-1, -1, q.shape[1], -1)  # (B, 1, Q, L)
        return self.attend(q, x @ weights.key, x @ weights.value, self.heads, mask) @ weights.out + weights.out_bias


class EndTokenTransformer(nn.Module):
    """`TextTransformer` whose last block has one query a text."""

    def __init__(self, original: TextTransformer) -> None:
        super().__init__()
        self.token_embedding = original.token_embedding
        self.positional_embedding = original.positional_embedding
        self.resblocks = original.resblocks
        self.ln_final = original.ln_final

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.token_embedding(input_ids) + self.positional_embedding[: input_ids.shape[1]]  # (B, L, width)
        allowed = attention_mask[:, None, None, :] != 0  # (B, 1, 1, L)
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, allowed)
        end = input_ids.argmax(dim=-1, keepdim=True)[:, :, None].expand(-1, -1, x.shape[-1])  # (B, 1, width)
        return self.ln_final(_finish(last, x, x.gather(1, end), allowed)[:, 0])


def _finish(block: Any, x: Tensor, token: Tensor, allowed: Tensor) -> Tensor:  # noqa: ANN401 (a TextBlock)
    """What the block makes of one token (B, 1, width) among all of them (B, L, width)."""
    token = token + block.attn(block.ln_1(x), allowed, block.ln_1(token))
    return token + block.mlp(block.ln_2(token))
