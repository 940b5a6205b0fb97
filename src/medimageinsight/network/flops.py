"""Floating-point operations that the network needs, from its architecture alone; a multiply-add counts as two.

Counted are the matrix products and convolutions of the exact computation without waste: positions that windows are
padded with cost nothing but one shared key, the last fc2 is behind the mean over tokens, and of a text's last layer the
end token alone is followed, which the others reach as keys and values. Norms, activations and softmax are left out, as
is usual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medimageinsight.network.config import ImageEncoderConfig, ModelConfig

DEPTH_WISE_TAPS = 9  # 3 x 3
TEXT_MLP_RATIO = 4


def image_flops(config: ModelConfig) -> int:
    """One image through the image encoder and its projection."""
    image = config.image
    macs = 0
    for stage, (inputs, outputs) in enumerate(pairwise((3, *image.widths))):
        height, width = image.grids[stage]
        macs += image.patch_sizes[stage] ** 2 * inputs * outputs * height * width
        macs += image.depths[stage] * _block_macs(image, stage, height, width)
    last, (height, width) = image.widths[-1], image.grids[-1]
    macs -= (height * width - 1) * image.mlp_ratio * last**2  # fc2: once an image in place of once a token
    return 2 * (macs + last * config.embedding_dim)


def text_flops(config: ModelConfig, tokens: int) -> int:
    """One text of so many tokens, both ends counted, through the text encoder and its projection."""
    text = config.text
    keys_values = 2 * text.width**2
    others = (2 + 2 * TEXT_MLP_RATIO) * text.width**2 + 2 * tokens * text.width  # q, attention, projection, MLP
    followed = (text.layers - 1) * tokens + 1
    return 2 * (text.layers * tokens * keys_values + followed * others + text.width * config.embedding_dim)


def _block_macs(image: ImageEncoderConfig, stage: int, height: int, width: int) -> int:
    """A spatial and a channel block, whose attentions differ and whose other layers are the same."""
    channels, tokens = image.widths[stage], height * width
    linear = (4 + 2 * image.mlp_ratio) * channels**2  # q, k, v, projection; both layers of the MLP
    convolutions = 2 * DEPTH_WISE_TAPS * channels
    window_attention = 2 * channels * _window_pairs(image.window, height, width)
    channel_attention = 2 * tokens * channels * (channels // image.groups[stage])
    return 2 * tokens * (linear + convolutions) + window_attention + channel_attention


def _window_pairs(side: int, height: int, width: int) -> int:
    """Pairs of a query and a key within windows; all pad positions of a window are one key, since they are equal."""
    pairs = 0
    for top in range(0, height, side):
        for left in range(0, width, side):
            real = min(side, height - top) * min(side, width - left)
            pairs += real * (real + (real < side**2))
    return pairs
