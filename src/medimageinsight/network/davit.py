"""The image encoder: DaViT, a dual attention vision transformer (arXiv 2204.03645).

Tokens stay a grid (B, H, W, C) from the first convolution to the last norm: linear layers and LayerNorm work on the
last axis, and the depth-wise convolutions read the same memory as a channels-last (B, C, H, W) image, without a copy.

Module names are those of the original checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from medimageinsight.network.config import ImageEncoderConfig


class DaViT(nn.Module):
    """Pixels (B, 3, H, W) to one feature vector per image, (B, widths[-1])."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        widths = config.widths
        self.convs = nn.ModuleList(
            ConvEmbed(
                config.patch_sizes[stage],
                (3, *widths)[stage],
                widths[stage],
                stride=config.patch_strides[stage],
                padding=config.patch_paddings[stage],
                prenorm=config.patch_prenorm[stage],
            )
            for stage in range(len(widths))
        )
        # The rate of stochastic depth rises with every block, spatial or channel.
        rates = iter(torch.linspace(0, config.drop_path, 2 * sum(config.depths), device="cpu").tolist())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(
                        width,
                        config.heads[stage],
                        config.groups[stage],
                        window=config.window,
                        mlp_ratio=config.mlp_ratio,
                        drop_path=(next(rates), next(rates)),
                    )
                    for _ in range(config.depths[stage])
                )
            )
            for stage, width in enumerate(widths)
        )
        self.norms = nn.LayerNorm(widths[-1])

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.permute(0, 2, 3, 1)  # (B, H, W, 3)
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            x = blocks(conv(x))
        return self.norms(x.mean(dim=(1, 2), dtype=torch.float32))  # images differ in its last bits


class ConvEmbed(nn.Module):
    """Overlapping patch embedding: a strided convolution with LayerNorm before (`prenorm`) or after it."""

    def __init__(self, kernel: int, inputs: int, outputs: int, *, stride: int, padding: int, prenorm: bool) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.norm = nn.LayerNorm(inputs if prenorm else outputs)
        self.prenorm = prenorm

    def forward(self, x: Tensor) -> Tensor:
        if self.prenorm:
            x = self.norm(x)
        x = self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x if self.prenorm else self.norm(x)


class Block(nn.Module):
    """Spatial attention within windows, then channel attention over the whole image."""

    def __init__(
        self, width: int, heads: int, groups: int, *, window: int, mlp_ratio: int, drop_path: tuple[float, float]
    ) -> None:
        super().__init__()
        self.spatial_block = SpatialBlock(width, heads, window, mlp_ratio, drop_path[0])
        self.channel_block = ChannelBlock(width, groups, mlp_ratio, drop_path[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.channel_block(self.spatial_block(x))


class SpatialBlock(nn.Module):
    """Four residual steps: convolution, window attention, convolution, MLP."""

    def __init__(self, width: int, heads: int, window: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.conv1 = Residual(DepthWiseConv(width))
        self.window_attn = Residual(WindowAttention(width, heads, window), nn.LayerNorm(width), drop_path)
        self.conv2 = Residual(DepthWiseConv(width))
        self.ffn = Residual(FeedForward(width, mlp_ratio), nn.LayerNorm(width), drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.conv2(self.window_attn(self.conv1(x))))


class ChannelBlock(nn.Module):
    """Four residual steps: convolution, channel attention, convolution, MLP."""

    def __init__(self, width: int, groups: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.conv1 = Residual(DepthWiseConv(width))
        self.channel_attn = Residual(ChannelAttention(width, groups), nn.LayerNorm(width), drop_path)
        self.conv2 = Residual(DepthWiseConv(width))
        self.ffn = Residual(FeedForward(width, mlp_ratio), nn.LayerNorm(width), drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.conv2(self.channel_attn(self.conv1(x))))


class Residual(nn.Module):
    """x + fn(norm(x)); in training, the branch is dropped for a whole sample at the given rate (stochastic depth)."""

    def __init__(self, fn: nn.Module, norm: nn.Module | None = None, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = norm
        self.fn = fn
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        branch = self.fn(x if self.norm is None else self.norm(x))
        if self.training and self.drop_path:
            keep = 1.0 - self.drop_path
            branch = branch * (torch.rand(len(x), 1, 1, 1, device=x.device) < keep).to(branch.dtype) / keep
        return x + branch


class DepthWiseConv(nn.Module):
    """A 3 x 3 convolution with one filter per channel and bias: the network's only position information."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dw(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows.

    The grid is zero-padded on the right and at the bottom to a multiple of the window, after the norm and without a
    mask: the key and the value of a pad position are the biases, and it takes part in the softmax, as in the original.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        size = self.window
        x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        rows, columns = x.shape[1] // size, x.shape[2] // size

        x = x.view(batch, rows, size, columns, size, channels).transpose(2, 3)  # (B, rows, columns, size, size, C)
        x = x.reshape(batch * rows * columns, size * size, channels)
        qkv = self.qkv(x).view(-1, size * size, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B * windows, heads, tokens, head_dim)
        attention = (q * self.scale) @ k.transpose(-2, -1)  # (B * windows, heads, tokens, tokens)
        x = attention.softmax(dim=-1) @ v
        x = self.proj(x.transpose(1, 2).reshape(-1, size * size, channels))

        x = x.view(batch, rows, columns, size, size, channels).transpose(2, 3)
        x = x.reshape(batch, rows * size, columns * size, channels)
        return x[:, :height, :width]


class ChannelAttention(nn.Module):
    """Self-attention whose tokens are the channels of a group; the scale is the number of spatial tokens ** -0.5."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        tokens = height * width
        qkv = self.qkv(x).view(batch, tokens, 3, self.groups, channels // self.groups)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, groups, tokens, group_dim)
        attention = (q * tokens**-0.5).transpose(-2, -1) @ k  # (B, groups, group_dim, group_dim)
        x = attention.softmax(dim=-1) @ v.transpose(-2, -1)  # (B, groups, group_dim, tokens)
        x = x.permute(0, 3, 1, 2).reshape(batch, height, width, channels)
        return self.proj(x)


class FeedForward(nn.Module):
    """fc1, exact GELU, fc2."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.net = nn.Sequential()
        self.net.add_module("fc1", nn.Linear(width, ratio * width))
        self.net.add_module("act", nn.GELU())
        self.net.add_module("fc2", nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
