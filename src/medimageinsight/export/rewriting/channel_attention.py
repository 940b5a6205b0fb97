"""Channel attention whose values are not transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from medimageinsight.export.rewriting.attention import fixed
from medimageinsight.network.davit import DaViT

if TYPE_CHECKING:
    from medimageinsight.network.davit import ChannelAttention
    from medimageinsight.network.model import UniCLModel


def merge_channel_attention_into_projection(model: UniCLModel) -> None:
    """Multiply the attention with the projection, which is small, before the values, which are many.

    A group's attention mixes its channels, and so does the projection after it: together they are one matrix (C, C) per
    image, and the values of all tokens are multiplied with it in their memory order.
    """
    if not isinstance(model.image_encoder, DaViT):
        return
    stages: Any = model.image_encoder.blocks
    for (height, width), blocks in zip(model.config.image.grids, stages, strict=True):
        for block in blocks:
            attention = block.channel_block.channel_attn
            attention.fn = MergedChannelAttention(attention.fn, tokens=height * width)


class MergedChannelAttention(nn.Module):
    """`ChannelAttention` for a fixed number of tokens."""

    def __init__(self, original: ChannelAttention, tokens: int) -> None:
        super().__init__()
        self.groups = original.groups
        query, key, value = original.qkv.weight.chunk(3)
        query_bias, key_bias, value_bias = original.qkv.bias.chunk(3)
        scale = tokens**-0.5
        self.query, self.query_bias = fixed((scale * query).T), fixed(scale * query_bias)
        self.key, self.key_bias = fixed(key.T), fixed(key_bias)
        self.value, self.value_bias = fixed(value.T), fixed(value_bias[None])  # (1, C)
        self.out = fixed(original.proj.weight.T.unflatten(0, (self.groups, -1)))  # (groups, group_dim, C)
        self.out_bias = fixed(original.proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height * width, channels)
        q, k = x @ self.query + self.query_bias, x @ self.key + self.key_bias
        q, k = (tensor.unflatten(-1, (self.groups, -1)).permute(0, 2, 3, 1) for tensor in (q, k))
        attention = (q @ k.transpose(-2, -1)).softmax(dim=-1)  # (B, groups, group_dim, group_dim)
        merged = (attention.transpose(-2, -1) @ self.out).reshape(batch, channels, channels)
        bias = self.value_bias @ merged + self.out_bias  # (B, 1, C)
        return ((x @ self.value) @ merged + bias).reshape(batch, height, width, channels)
