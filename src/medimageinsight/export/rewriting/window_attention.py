"""Window attention on the image's tokens only: nothing is padded, nothing is computed for pad positions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medimageinsight.export.rewriting.attention import Projections
from medimageinsight.network.davit import DaViT

if TYPE_CHECKING:
    from medimageinsight.network.davit import WindowAttention
    from medimageinsight.network.model import UniCLModel


def skip_window_padding(model: UniCLModel) -> None:
    """Compute queries, keys, values and projection for real tokens only; a window's pad positions become one key.

    The key and the value of a pad position are the biases. Without these (see `attention`) both are zero, all pad
    positions of a window are equal, and n of them weigh in softmax as one key whose logit is log(n).
    """
    if not isinstance(model.image_encoder, DaViT):
        return
    stages: Any = model.image_encoder.blocks
    for (height, width), blocks in zip(model.config.image.grids, stages, strict=True):
        for block in blocks:
            attention = block.spatial_block.window_attn
            attention.fn = RealTokenAttention(attention.fn, height, width)


class Region(NamedTuple):
    """A part of the grid with windows of one size: the whole windows, or those cut off at an edge."""

    tokens: int  # of the region
    window: int  # real tokens of a window
    pads: int  # positions of a window outside the grid


class RealTokenAttention(nn.Module):
    """`WindowAttention` for a fixed grid, without padding.

    One gather orders the tokens by window, region by region, and a second one restores their order: rows of memory are
    copied, nothing is transposed.
    """

    def __init__(self, original: WindowAttention, height: int, width: int) -> None:
        super().__init__()
        self.heads = original.heads
        self.projections = Projections(
            (original.qkv.weight, original.qkv.bias), original.proj, (original.qkv.in_features // self.heads) ** -0.5
        )
        order, self.regions = cut_windows(height, width, original.window)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", torch.argsort(order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.projections
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height * width, channels).index_select(1, self.get_buffer("order"))
        q, k, v = x @ weights.query + weights.query_bias, x @ weights.key, x @ weights.value  # each (B, tokens, C)
        x = self._attend_by_region(q, k, v) @ weights.out + weights.out_bias
        return x.index_select(1, self.get_buffer("inverse")).reshape(batch, height, width, channels)

    def _attend_by_region(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if len(self.regions) == 1:
            return self._attend(self.regions[0], q, k, v)
        sizes = [region.tokens for region in self.regions]
        parts = zip(*(tensor.split(sizes, dim=1) for tensor in (q, k, v)), strict=True)
        attended = [self._attend(region, *part) for region, part in zip(self.regions, parts, strict=True)]
        return torch.cat(attended, dim=1)

    def _attend(self, region: Region, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within the windows of a region; q, k, v and the result are (B, tokens of the region, C)."""
        batch, tokens, channels = q.shape
        q, k, v = (tensor.reshape(-1, region.window, channels) for tensor in (q, k, v))  # (B * windows, window, C)
        mask = None
        if region.pads:
            k, v = (F.pad(tensor, (0, 0, 0, 1)) for tensor in (k, v))
            mask = torch.zeros(region.window, region.window + 1)
            mask[:, -1] = math.log(region.pads)
        return self.projections.attend(q, k, v, self.heads, mask).reshape(batch, tokens, channels)


def cut_windows(height: int, width: int, size: int) -> tuple[Tensor, tuple[Region, ...]]:
    """Order the tokens of a grid by square window of `size` tokens, and divide them into regions.

    Returns:
        Indices into the row-major grid, (height * width,) int64, and one to four regions in their order: whole
        windows, those cut off on the right, at the bottom, and in the corner.
    """
    grid = torch.arange(height * width).view(height, width)
    order, regions = [], []
    for band in (grid[: height - height % size], grid[height - height % size :]):
        for part in (band[:, : width - width % size], band[:, width - width % size :]):
            if part.numel():
                tall, wide = min(size, len(part)), min(size, part.shape[1])  # of this region's windows
                windows = part.unflatten(0, (-1, tall)).unflatten(2, (-1, wide)).transpose(1, 2)
                order.append(windows.flatten())
                regions.append(Region(part.numel(), tall * wide, size * size - tall * wide))
    return torch.cat(order), tuple(regions)
