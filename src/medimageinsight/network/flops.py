"""Floating-point operations of the network, from its architecture; a multiply-add counts as two.

The matrix products and convolutions of the exact computation are counted, without avoidable work: the pad positions of
a window are one shared key, the last fc2 is applied after the mean over tokens, and in the last layer of a text only
the end token is a query. Norms, activations and softmax are not counted, as is usual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from medimageinsight.network.config import EfficientNetConfig

if TYPE_CHECKING:
    from medimageinsight.network.config import ImageEncoderConfig, ModelConfig


def image_flops(config: ModelConfig) -> int:
    """Count the operations of one image in the image encoder and its projection."""
    image = config.image
    macs = _efficientnet_macs(image) if isinstance(image, EfficientNetConfig) else _davit_macs(image)
    return 2 * (macs + image.features * config.embedding_dim)


def _efficientnet_macs(image: EfficientNetConfig) -> int:
    (height, width), *grids = image.grids
    macs = 3 * 3 * 3 * image.stem * height * width
    inputs = image.stem
    stages = zip(image.widths, image.depths, image.kernels, image.expansions, strict=True)
    for (outputs, depth, kernel, expansion), grid in zip(stages, grids, strict=True):
        for _ in range(depth):
            hidden = inputs * expansion
            macs += inputs * hidden * height * width * (expansion > 1)
            height, width = grid
            macs += hidden * (kernel**2 + outputs) * height * width
            inputs = outputs
    return macs + inputs * image.head * height * width


def _davit_macs(image: ImageEncoderConfig) -> int:
    macs = 0
    for stage, (inputs, outputs) in enumerate(pairwise((3, *image.widths))):
        height, width = image.grids[stage]
        macs += image.patch_sizes[stage] ** 2 * inputs * outputs * height * width
        macs += image.depths[stage] * _block_macs(image, stage, height, width)
    last, (height, width) = image.widths[-1], image.grids[-1]
    return macs - (height * width - 1) * image.mlp_ratio * last**2  # fc2: once per image instead of once per token


def text_flops(config: ModelConfig, tokens: int) -> int:
    """Count the operations of one text of `tokens` tokens, start and end included, in the text encoder."""
    text = config.text
    keys_values = 2 * text.width**2
    per_query = (2 + 2 * 4) * text.width**2 + 2 * tokens * text.width  # q, projection, MLP (ratio 4), attention
    queries = (text.layers - 1) * tokens + 1
    return 2 * (text.layers * tokens * keys_values + queries * per_query + text.width * config.embedding_dim)


def _block_macs(image: ImageEncoderConfig, stage: int, height: int, width: int) -> int:
    """Count the multiply-adds of a spatial and a channel block, which differ in their attention only."""
    channels, tokens = image.widths[stage], height * width
    linear = (4 + 2 * image.mlp_ratio) * channels**2  # q, k, v, projection; both layers of the MLP
    convolutions = 2 * 3 * 3 * channels
    window_attention = 2 * channels * _window_pairs(image.window, height, width)
    channel_attention = 2 * tokens * channels * (channels // image.groups[stage])
    return 2 * tokens * (linear + convolutions) + window_attention + channel_attention


def _window_pairs(window: int, height: int, width: int) -> int:
    """Count the pairs of a query and a key within windows; the equal pad positions of a window are one key."""
    pairs = 0
    for top in range(0, height, window):
        for left in range(0, width, window):
            tokens = min(window, height - top) * min(window, width - left)
            pairs += tokens * (tokens + (tokens < window**2))
    return pairs
